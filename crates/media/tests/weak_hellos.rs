//! ASVS 17.2.2: a peer that offers nothing but weak ciphers or SRTP profiles gets no keys, and is not kept for ever.

use parlour_sim::{Hop, Sim};
use std::time::Duration;

/// What becomes of a hello on its way.
type Change = fn(&mut [u8]);

/// Where the cipher suites begin in a DTLS ClientHello that came in one record: behind both headers, version and random,
/// the session id and the cookie (RFC 6347 §4.2.1).
fn cipher_suites_at(hello: &[u8]) -> usize {
    let session_id = 13 + 12 + 2 + 32;
    let cookie = session_id + 1 + usize::from(hello[session_id]);
    cookie + 1 + usize::from(hello[cookie])
}

/// Offers these suites alone, as often as there were others.
fn suites_only(hello: &mut [u8], suite: u16) {
    let at = cipher_suites_at(hello);
    let len = usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    for place in hello[at + 2..at + 2 + len].chunks_exact_mut(2) {
        place.copy_from_slice(&suite.to_be_bytes());
    }
}

/// Offers these SRTP profiles alone (RFC 5764 §4.1.2), or none: the extension becomes one that nobody knows.
fn profiles_only(hello: &mut [u8], profile: Option<u16>) {
    let suites = cipher_suites_at(hello);
    let len = usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let compressions = suites + 2 + len;
    let mut at = compressions + 1 + usize::from(hello[compressions]) + 2;
    while at + 4 <= hello.len() {
        let len = usize::from(u16::from_be_bytes([hello[at + 2], hello[at + 3]]));
        if hello[at..at + 2] == [0, 14] {
            let list = usize::from(u16::from_be_bytes([hello[at + 4], hello[at + 5]]));
            match profile {
                None => hello[at..at + 2].copy_from_slice(&[0xfa, 0xfa]),
                Some(profile) => hello[at + 6..at + 6 + list]
                    .chunks_exact_mut(2)
                    .for_each(|place| place.copy_from_slice(&profile.to_be_bytes())),
            }
            return;
        }
        at += 4 + len;
    }
    panic!("the peer offers SRTP");
}

fn dtls_1_0(hello: &mut [u8]) {
    hello[1..3].copy_from_slice(&[254, 255]);
    hello[25..27].copy_from_slice(&[254, 255]);
}

/// A peer joins whose every ClientHello is changed on the way. Returns whether it was told a ServerHello.
fn join(change: Change) -> (Sim, bool) {
    let mut sim = Sim::new(1);
    sim.add_peer();
    sim.sent = Some(Vec::new());
    let mut told = false;
    for _ in 0..3_000 {
        // What the peer says is held back, and comes from its address as the attacker has it.
        let held = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let hold = held.clone();
        sim.filter = Box::new(move |hop, datagram, _| {
            let is_hello = hop == Hop::Up(0) && datagram[0] == 22 && datagram.get(13) == Some(&1);
            if is_hello {
                hold.borrow_mut().push(datagram.to_vec());
            }
            !is_hello
        });
        sim.step();
        for mut hello in held.take() {
            change(&mut hello);
            sim.inject(sim.peers[0].address, &hello);
        }
        let sent = sim.sent.replace(Vec::new()).unwrap();
        told |= sent
            .iter()
            .any(|(_, it)| it[0] == 22 && it.get(13) == Some(&2));
    }
    (sim, told)
}

#[test]
fn an_honest_hello_that_goes_the_same_way_is_answered() {
    let (sim, told) = join(|_| ());
    assert!(told && sim.peers[0].connected);
}

#[test]
fn v17_2_2_null_and_anonymous_ciphers_srtp_null_and_dtls_1_0_get_no_keys() {
    let weak: [(&str, Change); 6] = [
        ("TLS_RSA_WITH_NULL_SHA256", |it| suites_only(it, 0x003b)),
        ("TLS_NULL_WITH_NULL_NULL", |it| suites_only(it, 0x0000)),
        ("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", |it| {
            suites_only(it, 0xc018)
        }),
        ("SRTP_NULL_HMAC_SHA1_80", |it| profiles_only(it, Some(5))),
        ("no SRTP at all", |it| profiles_only(it, None)),
        ("DTLS 1.0", dtls_1_0),
    ];
    for (name, change) in weak {
        let (mut sim, _) = join(change);
        assert!(!sim.peers[0].connected, "{name}");
        let state = sim.router.snapshot().transports.first().map(|it| it.state);
        assert_ne!(state, Some("connected"), "{name}");
        // Whatever became of it, it is not there for ever.
        sim.peers[0].dead = true;
        sim.run(Duration::from_secs(65));
        assert!(sim.router.snapshot().transports.is_empty(), "{name}");
    }
}
