//! A DTLS handshake as far as it is in clear, with a peer whose own ClientHello may come at any time. Nothing that is
//! written without the peer's key ends its transport or makes the router keep work for it.

use super::*;

/// Bytes are records `what, epoch, length (2), body`: 0 is the peer's own ClientHello, 1 is time, anything else a
/// datagram of one record of that type, from where the peer is.
pub fn handshake(data: &[u8]) {
    let mut session = Session::new();
    let config = Config::builder().build().expect("the default settings");
    let mut dtls = Dtls::new_12(Arc::new(config), certificate(), session.now);
    dtls.set_active(true);
    dtls.handle_timeout(session.now).expect("a ClientHello");
    let mut buffer = [0; 2048];
    let Output::Packet(hello) = dtls.poll_output(&mut buffer) else {
        return;
    };
    let hello = hello.to_vec();
    session.records(data, |session, record| match record {
        Record::Own => session.datagram(address(0), &mut hello.clone()),
        Record::Taken => session.sink.sent.clear(),
    });
}

/// What a peer does while records come.
pub(super) enum Record {
    /// It says what it has to say itself.
    Own,
    /// One was taken: it looks at what it got for that.
    Taken,
}

impl Session {
    /// Lets records come as bytes say, and looks that they neither ended a transport nor left work behind.
    pub(super) fn records(&mut self, mut data: &[u8], mut peer: impl FnMut(&mut Self, Record)) {
        let mut time = Duration::ZERO;
        while let Some(([what, epoch, high, low], rest)) = data.split_first_chunk::<4>() {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            let (body, rest) = rest.split_at(len.min(rest.len()));
            data = rest;
            match what {
                0 => peer(self, Record::Own),
                1 => {
                    let by = Duration::from_millis(1 + u64::from(*epoch));
                    time += by;
                    // Later it would be given up.
                    if time > Duration::from_secs(20) {
                        break;
                    }
                    self.advance(by);
                }
                kind => {
                    let len = (body.len() as u16).to_be_bytes();
                    let header = [*kind, 254, 253, 0, *epoch, 0, 0, 0, 0, 0, 7];
                    let mut record = [&header[..], &len, body].concat();
                    self.datagram(address(0), &mut record);
                }
            }
            peer(self, Record::Taken);
        }
        let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
        assert!(!self.events.iter().any(closed), "{:?}", self.events);
        assert_eq!(self.router.snapshot().handshakes.waiting, 0);
    }
}
