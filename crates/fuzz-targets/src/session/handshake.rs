//! A DTLS handshake as far as it is in clear, with a peer whose own ClientHello may come at any time. Nothing that is
//! written without the peer's key ends its transport or makes the router keep work for it.

use super::*;

/// Bytes are records `what, epoch, length (2), body`: 0 is the peer's own ClientHello, 1 is time, anything else a
/// datagram of one record of that type, from where the peer is.
pub fn handshake(mut data: &[u8]) {
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
    let mut time = Duration::ZERO;
    while let Some(([what, epoch, high, low], rest)) = data.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, rest) = rest.split_at(len.min(rest.len()));
        data = rest;
        match what {
            0 => session.datagram(address(0), &mut hello.clone()),
            1 => {
                let by = Duration::from_millis(1 + u64::from(*epoch));
                time += by;
                // Later it would be given up.
                if time > Duration::from_secs(20) {
                    break;
                }
                session.advance(by);
            }
            kind => {
                let len = (body.len() as u16).to_be_bytes();
                let header = [*kind, 254, 253, 0, *epoch, 0, 0, 0, 0, 0, 7];
                let mut record = [&header[..], &len, body].concat();
                session.datagram(address(0), &mut record);
            }
        }
        session.sink.sent.clear();
    }
    let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
    assert!(!session.events.iter().any(closed), "{:?}", session.events);
    assert_eq!(session.router.snapshot().handshakes.waiting, 0);
}
