//! What answers our ClientHello, as far as it is in clear, with a peer whose own answer may come at any time. Nothing that
//! is written without the peer's key ends its transport or makes the router keep work for it.

use super::handshake::Record;
use super::*;

const CLIENT_HELLO: u8 = 1;

/// The first byte says whether the peer asks for a cookie. What follows are records `what, epoch, length (2), body`: 0 is
/// what the peer itself has to say now, 1 is time, anything else a datagram of one record of that type, from where the
/// peer is.
pub fn answer(data: &[u8]) {
    let Some((asks, data)) = data.split_first() else {
        return;
    };
    let mut session = Session::with_role(DtlsRole::Client);
    let config = Config::builder().use_server_cookie(asks % 2 == 1);
    let config = Arc::new(config.build().expect("settings"));
    let mut dtls = Dtls::new_12(config, certificate(), session.now);
    dtls.handle_timeout(session.now).expect("a server");
    // What the peer answers proves where it is, and that has the router say hello.
    for number in 0..8 {
        session.check(0, [10 + number; 12], address(0), true);
        session.hear(&mut dtls);
    }
    let mut buffer = [0; 2048];
    session.records(data, |session, record| match record {
        Record::Own => {
            while let Output::Packet(packet) = dtls.poll_output(&mut buffer) {
                session.datagram(address(0), &mut packet.to_vec());
            }
        }
        Record::Taken => session.hear(&mut dtls),
    });
}

impl Session {
    /// The first peer hears what was sent to it: it answers checks, and takes in hellos.
    fn hear(&mut self, dtls: &mut Dtls) {
        while let Some((to, packet)) = self.sink.sent.pop_front() {
            if to.remote != address(0) {
                continue;
            }
            if is_stun(&packet) {
                self.answer(0, &packet);
            } else if packet.get(13) == Some(&CLIENT_HELLO) {
                // One that a forged request led to is none that the peer knows what to do with.
                let _ = dtls.handle_packet(&packet);
            }
        }
    }
}
