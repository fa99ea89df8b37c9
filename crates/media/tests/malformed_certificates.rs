//! Certificates that no program should have made, shown by a peer whose fingerprint of them is right: signaling lets it
//! announce what it likes. CVE-2022-0778 was one whose curve made a library compute for ever.

use parlour_media::{Codec, Event, TransportId};
use parlour_sim::raw::{RawPeer, filmed, rtp_packet};
use parlour_sim::{Sim, VIDEO_PT, vp8};
use std::time::Duration;

/// An element of DER (X.690 §8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        0x100..=0xffff => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([
            0x83,
            (length >> 16) as u8,
            (length >> 8) as u8,
            length as u8,
        ]),
    }
    out.extend(content);
    out
}

/// The first element: its tag, its content, and where it ends.
fn element(from: &[u8]) -> (u8, &[u8], usize) {
    let (head, length) = match from[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x81 => (3, usize::from(from[2])),
        _ => (4, usize::from(from[2]) << 8 | usize::from(from[3])),
    };
    (from[0], &from[head..head + length], head + length)
}

/// The same elements, with one of them, wherever it is, replaced.
fn replaced(within: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), within);
    while !rest.is_empty() {
        let (tag, content, end) = element(rest);
        if &rest[..end] == old {
            out.extend(new);
        } else if tag & 0x20 != 0 {
            out.extend(der(tag, &replaced(content, old, new)));
        } else {
            out.extend(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out
}

const EC_PUBLIC_KEY: [u8; 9] = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: [u8; 10] = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const PRIME_FIELD: [u8; 9] = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 1, 1];

/// A curve that is written out (RFC 3279 §2.3.5), over a field that is none: its modulus is no prime, and its point is
/// compressed, so that whoever wants it takes a square root there.
fn curve_of_no_field() -> Vec<u8> {
    let modulus = [&[0x02, 33, 0][..], &[0xff; 31], &[0x1d]].concat();
    let field = der(0x30, &[&PRIME_FIELD[..], &modulus].concat());
    let number = |value: u8| der(0x04, &[value; 32]);
    let curve = der(0x30, &[number(3), number(5)].concat());
    let base = der(0x04, &[&[2][..], &[7; 32]].concat());
    let order = der(0x02, &[&[0][..], &[0xfe; 32]].concat());
    let parts = [der(0x02, &[1]), field, curve, base, order, der(0x02, &[1])];
    der(0x30, &parts.concat())
}

fn honest() -> dimpl::DtlsCertificate {
    dimpl::certificate::generate_self_signed_certificate().unwrap()
}

/// Some of each kind, with what it is.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let certificate = honest().certificate;
    let identifier = der(0x30, &[&EC_PUBLIC_KEY[..], &P256].concat());
    let explicit = der(0x30, &[&EC_PUBLIC_KEY[..], &curve_of_no_field()].concat());
    let long = |bytes: usize| {
        let filling = der(0x04, &vec![0x2a; bytes]);
        replaced(
            &certificate,
            &identifier,
            &der(0x30, &[&EC_PUBLIC_KEY[..], &filling].concat()),
        )
    };
    let deep = (0..2_000).fold(vec![0x05, 0], |inner, _| der(0x30, &inner));
    let mut all = vec![
        (
            "a curve of no field",
            replaced(&certificate, &identifier, &explicit),
        ),
        ("16 kB", long(16_000)),
        ("60 kB", long(60_000)),
        ("elements in elements", deep),
        ("no certificate", vec![0xff; 300]),
    ];
    let cut = [1, 2, 4, 30, 80, 150, certificate.len() - 1];
    all.extend(cut.map(|length| ("cut", certificate[..length].to_vec())));
    assert!(all.iter().all(|(_, it)| *it != certificate));
    all
}

#[test]
fn malformed_certificates_of_the_announced_fingerprint_get_no_keys_and_the_call_next_door_goes_on()
{
    let mut sim = Sim::new(11);
    let (mut ann, mut bob) = filmed(&mut sim, Codec::Vp8, 3000);
    let mut seq = 10;
    let mut goes_on = |sim: &mut Sim| {
        seq += 1;
        let packet = rtp_packet(
            VIDEO_PT,
            seq,
            u32::from(seq) * 3000,
            1000,
            &vp8(true, true, b"x"),
        );
        let sent = ann.send_rtp(sim, &packet);
        let address = bob.address;
        let ours = sent.iter().filter(|(to, _)| *to == address);
        ours.filter_map(|(_, datagram)| bob.open(datagram)).count() == 1
    };
    assert!(goes_on(&mut sim));
    let all = malformed();
    for (number, (what, certificate)) in (10..).zip(all.clone()) {
        let private_key = honest().private_key;
        let shown = dimpl::DtlsCertificate {
            certificate,
            private_key,
        };
        assert!(!RawPeer::shows(&mut sim, number, shown), "{what} has keys");
        assert!(goes_on(&mut sim), "{what}");
    }
    // An honest one comes in beside them, and nothing is kept of those that never get keys.
    RawPeer::connect(&mut sim, 9);
    sim.run(Duration::from_secs(40));
    let left = sim.router.snapshot().transports;
    let left: Vec<TransportId> = left.iter().map(|it| it.id).collect();
    assert!(left.iter().all(|it| it.0 < 10), "{left:?}");
    let ended = |number: u64| {
        sim.events.iter().any(|event| {
            matches!(event, Event::TransportClosed { transport, .. } if *transport == TransportId(number))
        })
    };
    for (number, (what, _)) in (10..).zip(all) {
        assert!(ended(number), "{what}: nobody was told");
    }
}
