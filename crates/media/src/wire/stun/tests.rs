use super::*;
use crate::wire::num::Rng;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt"; // RFC 5769 §2
const ID: [u8; 12] = [
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn check(message: &StunMessage<'_>) {
    assert_eq!(message.transaction_id(), ID);
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.verify_integrity(b"another password"));
    assert!(message.has_valid_fingerprint());
    assert_eq!(message.unknown_required(), &[] as &[u16]);
}

#[test]
fn the_sample_request_of_rfc_5769_is_read() {
    let datagram = bytes(
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74
         002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020
         000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
    );
    let message = StunMessage::parse(&datagram).unwrap();
    check(&message);
    assert!(message.is_binding_request());
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.ice_controlling(), None);
    assert!(!message.use_candidate());
}

#[test]
fn the_sample_responses_of_rfc_5769_are_read() {
    let datagram = bytes(
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643
         000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
    );
    let message = StunMessage::parse(&datagram).unwrap();
    check(&message);
    assert!(message.is_binding_success());
    assert_eq!(
        message.xor_mapped_address(),
        Some("192.0.2.1:32853".parse().unwrap())
    );
    let datagram = bytes(
        "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220
         002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
    );
    let message = StunMessage::parse(&datagram).unwrap();
    check(&message);
    let mapped = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
    assert_eq!(message.xor_mapped_address(), Some(mapped.parse().unwrap()));
}

#[test]
fn a_written_request_reads_back_and_is_refused_when_a_byte_changes() {
    let request = BindingRequest {
        username: "abcdefgh:xyz",
        priority: 77,
        tie_breaker: 0x0102_0304_0506_0708,
        controlling: true,
        nominate: true,
    };
    let mut buf = [0; MAX_WRITTEN_LEN];
    let len = write_binding_request(&mut buf, ID, &request, PASSWORD);
    let message = StunMessage::parse(&buf[..len]).unwrap();
    check(&message);
    assert_eq!(message.username(), Some("abcdefgh:xyz"));
    assert_eq!(message.ice_controlling(), Some(request.tie_breaker));
    assert!(message.use_candidate() && message.priority() == Some(77));
    for at in 0..len - 8 {
        let mut changed = buf[..len].to_vec();
        changed[at] ^= 0x10;
        assert!(
            !StunMessage::parse(&changed).is_ok_and(|message| message.verify_integrity(PASSWORD)),
            "{at}"
        );
    }
    assert_eq!(
        write_binding_request(&mut [0; 60], ID, &request, PASSWORD),
        0
    );
}

#[test]
fn answers_say_the_address_and_the_error_and_stay_small() {
    let mut buf = [0; MAX_WRITTEN_LEN];
    for (seen, said) in [
        ("192.0.2.7:5000", "192.0.2.7:5000"),
        ("[::ffff:192.0.2.7]:5000", "192.0.2.7:5000"),
        ("[2001:db8::5]:65535", "[2001:db8::5]:65535"),
    ] {
        let len = write_binding_success(&mut buf, ID, seen.parse().unwrap(), PASSWORD);
        let message = StunMessage::parse(&buf[..len]).unwrap();
        check(&message);
        assert_eq!(message.xor_mapped_address(), Some(said.parse().unwrap()));
        assert!(len <= 76);
    }
    let len = write_binding_error(&mut buf, ID, 420, PASSWORD, &[0x7777; 20]);
    let message = StunMessage::parse(&buf[..len]).unwrap();
    check(&message);
    assert!(message.is_binding_error() && message.error_code() == Some(420));
    let len = write_binding_error(&mut buf, ID, 487, PASSWORD, &[]);
    assert_eq!(
        StunMessage::parse(&buf[..len]).unwrap().error_code(),
        Some(487)
    );
}

/// A message of the given attributes, without integrity.
fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut buf = vec![0; 2000];
    let mut out = begin(&mut buf, BINDING_REQUEST, ID);
    for (kind, value) in attributes {
        attribute(&mut out, *kind, value);
    }
    let length = (out.len() - HEADER_LEN) as u16;
    out.set_u16(2, length);
    let len = out.finish();
    buf.truncate(len);
    buf
}

#[test]
fn an_attribute_past_the_end_or_of_the_wrong_size_is_refused() {
    let mut datagram = message(&[(USERNAME, b"abcd")]);
    datagram[23] = 5;
    assert_eq!(
        StunMessage::parse(&datagram).unwrap_err(),
        StunError::Attribute
    );
    datagram[23] = 0xff;
    datagram[22] = 0xff;
    assert_eq!(
        StunMessage::parse(&datagram).unwrap_err(),
        StunError::Attribute
    );
    for (kind, len) in [
        (PRIORITY, 3),
        (USE_CANDIDATE, 1),
        (ICE_CONTROLLED, 4),
        (MESSAGE_INTEGRITY, 19),
        (FINGERPRINT, 8),
    ] {
        let datagram = message(&[(kind, &[0; 8][..len.min(8)])]);
        assert_eq!(
            StunMessage::parse(&datagram).unwrap_err(),
            StunError::Attribute,
            "{kind:#x}"
        );
    }
    assert_eq!(
        StunMessage::parse(&message(&[(USERNAME, &[b'a'; 509])])).unwrap_err(),
        StunError::Username
    );
    assert_eq!(
        StunMessage::parse(&message(&[(USERNAME, &[0xff; 8])])).unwrap_err(),
        StunError::Username
    );
}

#[test]
fn the_first_of_two_counts_and_what_follows_the_integrity_does_not() {
    let datagram = message(&[
        (USERNAME, b"first"),
        (USERNAME, b"second"),
        (MESSAGE_INTEGRITY, &[0; 20]),
        (USE_CANDIDATE, b""),
        (0x7001, b""),
    ]);
    let parsed = StunMessage::parse(&datagram).unwrap();
    assert_eq!(parsed.username(), Some("first"));
    assert!(!parsed.use_candidate() && parsed.unknown_required().is_empty());
    assert!(!parsed.verify_integrity(PASSWORD) && !parsed.has_valid_fingerprint());
    let datagram = message(&[(FINGERPRINT, &[0; 4]), (MESSAGE_INTEGRITY, &[0; 20])]);
    assert_eq!(
        StunMessage::parse(&datagram).unwrap_err(),
        StunError::AfterFingerprint
    );
}

#[test]
fn attributes_that_must_be_understood_are_named_eight_at_most() {
    let datagram = message(&[(0x7001, b"x"), (0x8888, b"optional"), (0x0003, b"")]);
    assert_eq!(
        StunMessage::parse(&datagram).unwrap().unknown_required(),
        &[0x7001, 0x0003]
    );
    let datagram = message(&[(0x7001, &[] as &[u8]); 20]);
    assert_eq!(
        StunMessage::parse(&datagram)
            .unwrap()
            .unknown_required()
            .len(),
        8
    );
}

#[test]
fn lengths_and_cookies_that_lie_are_refused() {
    let good = message(&[]);
    assert!(StunMessage::parse(&good).is_ok());
    assert_eq!(
        StunMessage::parse(&good[..19]).unwrap_err(),
        StunError::NotStun
    );
    let mut longer = good.clone();
    longer.extend([0; 4]);
    assert_eq!(StunMessage::parse(&longer).unwrap_err(), StunError::Length);
    let mut other = good.clone();
    other[5] ^= 1;
    assert_eq!(StunMessage::parse(&other).unwrap_err(), StunError::NotStun);
}

#[test]
fn random_attributes_never_panic() {
    let mut rng = Rng::new(5);
    for _ in 0..20_000 {
        let mut datagram = message(&[]);
        datagram.extend((0..rng.below(40) * 4).map(|_| (rng.next_u32() & rng.next_u32()) as u8));
        let length = (datagram.len() - HEADER_LEN) as u16;
        datagram[2..4].copy_from_slice(&length.to_be_bytes());
        if let Ok(message) = StunMessage::parse(&datagram) {
            let _ = (
                message.verify_integrity(b"x"),
                message.has_valid_fingerprint(),
                message.username(),
            );
        }
    }
}
