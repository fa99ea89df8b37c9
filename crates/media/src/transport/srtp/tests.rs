use super::cipher::derive_into;
use super::*;
use crate::wire::num::Rng;
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::Aes128CmSha1_80,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let material: Vec<u8> = (0..profile.exporter_len()).map(|i| i as u8).collect();
    let keys = SrtpKeys::from_exporter(profile, &material).unwrap();
    (
        SrtpSender::new(&keys.server).unwrap(),
        SrtpReceiver::new(&keys.server).unwrap(),
    )
}

fn rtp_packet(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 96, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0];
    packet[2..4].copy_from_slice(&seq.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Seals a packet whose extended sequence number is `index`.
fn sealed(sender: &SrtpSender, ssrc: u32, index: u64) -> Vec<u8> {
    let mut packet = rtp_packet(ssrc, index as u16, b"payload");
    let plain_len = packet.len();
    packet.resize(plain_len + SRTP_OVERHEAD, 0);
    let len = sender
        .protect_rtp(&mut packet, plain_len, (index >> 16) as u32)
        .unwrap();
    packet.truncate(len);
    packet
}

#[test]
fn the_keys_of_rfc_3711_b3_are_derived() {
    let master = bytes("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt: [u8; 14] = bytes("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
    let schedule = EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, &master).unwrap()).unwrap();
    let derive = |label, len| {
        let mut out = vec![0; len];
        derive_into(&schedule, &salt, label, &mut out).unwrap();
        out
    };
    assert_eq!(derive(0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive(2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derive(1, 20),
        bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
    );
}

#[test]
fn the_keystream_of_rfc_3711_b2_comes_out() {
    let key = EncryptingKey::ctr(
        UnboundCipherKey::new(&AES_128, &bytes("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap(),
    );
    let mut stream = [0u8; 48];
    let iv: [u8; 16] = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000")
        .try_into()
        .unwrap();
    key.unwrap()
        .less_safe_encrypt(&mut stream, EncryptionContext::Iv128(FixedLength::from(iv)))
        .unwrap();
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(stream.to_vec(), bytes(expected));
}

/// The vectors of RFC 7714 §16 and §17 give session keys: "Quid pro quo" is the salt.
fn rfc_7714_session(profile: SrtpProfile) -> SessionKeys {
    let key: Vec<u8> = (0..profile.key_len() as u8).collect();
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    SessionKeys::from_session(profile, &key, &[], salt).unwrap()
}

#[test]
fn the_rtp_packets_of_rfc_7714_16_are_sealed_and_opened() {
    let mut plain = bytes("8040f17b8041f8d35501a0b2");
    plain.extend(b"Gallia est omnis divisa in partes tres");
    let vectors = [
        (
            SrtpProfile::AeadAes128Gcm,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5
             0d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            SrtpProfile::AeadAes256Gcm,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238
             9a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    for (profile, expected) in vectors {
        let keys = rfc_7714_session(profile);
        let nonce = rtp_nonce(Ssrc(0x5501_a0b2), 0xf17b);
        let mut packet = plain.clone();
        packet.resize(plain.len() + 16, 0);
        keys.seal(&mut packet, 12, &nonce, &[0; 4]).unwrap();
        assert_eq!(packet, bytes(expected));
        assert_eq!(keys.open(&mut packet, 12, &nonce, &[0; 4]), Ok(plain.len()));
        assert_eq!(&packet[..plain.len()], plain);
    }
}

#[test]
fn the_rtcp_packets_of_rfc_7714_17_are_sealed_and_opened() {
    let plain = bytes(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61
         deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    );
    let vectors = [
        (
            SrtpProfile::AeadAes128Gcm,
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d
             c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        ),
        (
            SrtpProfile::AeadAes256Gcm,
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50
             a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        ),
    ];
    for (profile, expected) in vectors {
        let keys = rfc_7714_session(profile);
        let nonce = rtcp_nonce(Ssrc(0x4d61_7273), 0x5d4);
        let mut packet = plain.clone();
        packet.resize(plain.len() + 20, 0);
        keys.seal_rtcp(&mut packet, 8, &nonce, 0x8000_05d4).unwrap();
        assert_eq!(packet, bytes(expected));
        assert_eq!(keys.read_rtcp_index(&packet, 8), Some(0x8000_05d4));
        assert_eq!(
            keys.open_rtcp(&mut packet, 8, &nonce, 0x8000_05d4),
            Ok(plain.len())
        );
        assert_eq!(&packet[..plain.len()], plain);
    }
}

#[test]
fn what_libsrtp_sealed_opens_and_is_sealed_the_same_by_us() {
    let mut ends = None;
    let mut packets = 0;
    for line in include_str!("../../../vectors/libsrtp.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [kind, name, first, second] = fields[..] else {
            panic!("{line}")
        };
        let (first, second) = (bytes(first), bytes(second));
        if kind == "key" {
            let profile = match name {
                "cm-sha1" => SrtpProfile::Aes128CmSha1_80,
                "gcm-128" => SrtpProfile::AeadAes128Gcm,
                _ => SrtpProfile::AeadAes256Gcm,
            };
            let keys = KeySalt::new(profile, &first, &second).unwrap();
            ends = Some((
                SrtpSender::new(&keys).unwrap(),
                SrtpReceiver::new(&keys).unwrap(),
            ));
            continue;
        }
        let (sender, receiver) = ends.as_mut().unwrap();
        let (mut ours, mut theirs) = (first.clone(), second.clone());
        ours.resize(first.len() + SRTP_OVERHEAD, 0);
        let (sealed, opened) = if kind == "rtp" {
            (
                sender.protect_rtp(&mut ours, first.len(), name.parse().unwrap()),
                receiver.unprotect_rtp(&mut theirs),
            )
        } else {
            sender.rtcp_index = sender.rtcp.read_rtcp_index(&second, 8).unwrap() & !RTCP_ENCRYPTED;
            (
                sender.protect_rtcp(&mut ours, first.len()),
                receiver.unprotect_rtcp(&mut theirs),
            )
        };
        assert_eq!(ours[..sealed.unwrap()], second);
        assert_eq!(theirs[..opened.unwrap()], first);
        packets += 1;
    }
    assert_eq!(packets, 3 * (10 + 4));
}

#[test]
fn a_changed_byte_anywhere_is_a_bad_tag_and_leaves_no_state() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let packet = sealed(&sender, 1, 9);
        for at in 2..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            assert_eq!(
                receiver.unprotect_rtp(&mut changed),
                Err(SrtpError::BadTag),
                "{profile:?} {at}"
            );
        }
        let mut report = bytes("80c9000100000005");
        report.resize(8 + SRTP_OVERHEAD, 0);
        let len = sender.protect_rtcp(&mut report, 8).unwrap();
        for at in 1..len {
            let mut changed = report[..len].to_vec();
            changed[at] ^= 1;
            assert_eq!(
                receiver.unprotect_rtcp(&mut changed),
                Err(SrtpError::BadTag),
                "{profile:?} {at}"
            );
        }
        assert_eq!(receiver.stream_count(), 0);
        assert!(receiver.unprotect_rtp(&mut packet.clone()).is_ok());
        assert!(receiver.unprotect_rtcp(&mut report[..len].to_vec()).is_ok());
        assert_eq!(receiver.stream_count(), 2);
    }
}

#[test]
fn every_index_is_accepted_once_in_any_order_within_the_window() {
    for profile in PROFILES {
        let (sender, mut receiver) = pair(profile);
        let mut rng = Rng::new(77);
        let (mut accepted, mut newest) = (std::collections::HashSet::new(), 32_000u64);
        for _ in 0..20_000 {
            let index = (newest + rng.below(64)).saturating_sub(rng.below(1200));
            let expected = if accepted.is_empty() || index > newest {
                Ok(19)
            } else if newest - index >= 1024 {
                Err(SrtpError::TooOld)
            } else if accepted.contains(&index) {
                Err(SrtpError::Replayed)
            } else {
                Ok(19)
            };
            assert_eq!(
                receiver.unprotect_rtp(&mut sealed(&sender, 5, index)),
                expected,
                "{index} after {newest}"
            );
            if expected.is_ok() {
                newest = if accepted.is_empty() {
                    index
                } else {
                    newest.max(index)
                };
                accepted.insert(index);
            }
        }
    }
}

#[test]
fn loss_over_the_wrap_does_not_lose_the_rollover_counter() {
    let (sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let mut open = |index| {
        receiver
            .unprotect_rtp(&mut sealed(&sender, 5, index))
            .map(|_| ())
    };
    assert_eq!(open(100), Ok(()));
    assert_eq!(open(40_000), Ok(())); // a jump of more than half the circle, still in the first cycle
    assert_eq!(open(65_000), Ok(()));
    assert_eq!(open(65_536 + 30_000), Ok(())); // everything around the wrap is lost
    assert_eq!(open(65_536 + 29_900), Ok(()));
    assert_eq!(open(2 * 65_536 - 10), Err(SrtpError::TooOld)); // more than half the circle: nobody can tell
    assert_eq!(open(65_536 + 60_000), Ok(()));
    assert_eq!(open(2 * 65_536 + 5), Ok(()));
    assert_eq!(open(2 * 65_536 - 5), Ok(())); // late, from before the second wrap
    assert_eq!(open(2 * 65_536 - 5), Err(SrtpError::Replayed));
}

#[test]
fn streams_are_counted_and_capped() {
    let (sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..MAX_STREAMS as u32 {
        assert!(
            receiver
                .unprotect_rtp(&mut sealed(&sender, ssrc, 1))
                .is_ok()
        );
    }
    assert_eq!(
        receiver.unprotect_rtp(&mut sealed(&sender, 9999, 1)),
        Err(SrtpError::TooManyStreams)
    );
    for round in 2..40 {
        for ssrc in [0, 17, 200, MAX_STREAMS as u32 - 1] {
            assert!(
                receiver
                    .unprotect_rtp(&mut sealed(&sender, ssrc, round))
                    .is_ok()
            );
        }
    }
    assert_eq!(
        receiver.unprotect_rtp(&mut sealed(&sender, 17, 39)),
        Err(SrtpError::Replayed)
    );
    assert_eq!(receiver.stream_count(), MAX_STREAMS);
}

#[test]
fn rtcp_is_accepted_once_and_must_be_encrypted() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        for round in 0..3 {
            let mut packet = bytes("80c9000100000005");
            packet.resize(8 + SRTP_OVERHEAD, 0);
            let len = sender.protect_rtcp(&mut packet, 8).unwrap();
            packet.truncate(len);
            assert_eq!(
                receiver.unprotect_rtcp(&mut packet.clone()),
                Ok(8),
                "{round}"
            );
            assert_eq!(
                receiver.unprotect_rtcp(&mut packet.clone()),
                Err(SrtpError::Replayed)
            );
            let e_bit = if profile == SrtpProfile::Aes128CmSha1_80 {
                len - 14
            } else {
                len - 4
            };
            packet[e_bit] &= 0x7f;
            assert_eq!(
                receiver.unprotect_rtcp(&mut packet),
                Err(SrtpError::NotEncrypted)
            );
        }
        sender.rtcp_index = 0x8000_0000;
        let mut packet = vec![0x80; 8 + SRTP_OVERHEAD];
        assert_eq!(
            sender.protect_rtcp(&mut packet, 8),
            Err(SrtpError::KeyExhausted)
        );
    }
}

#[test]
fn short_packets_and_short_buffers_are_errors() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        for len in 0..12 + profile.tag_len() {
            let mut packet = rtp_packet(1, 1, &[0; 40]);
            packet.truncate(len);
            assert_eq!(
                receiver.unprotect_rtp(&mut packet),
                Err(SrtpError::TooShort)
            );
        }
        for len in 0..12 + profile.tag_len() {
            assert_eq!(
                receiver.unprotect_rtcp(&mut vec![0x80; len]),
                Err(SrtpError::TooShort)
            );
        }
        let room = profile.tag_len() - 1;
        assert_eq!(
            sender.protect_rtp(&mut vec![0x80; 20 + room], 20, 0),
            Err(SrtpError::NoRoom)
        );
        assert_eq!(
            sender.protect_rtp(&mut [0x80; 20], 21, 0),
            Err(SrtpError::NoRoom)
        );
        assert_eq!(
            sender.protect_rtcp(&mut vec![0x80; 20 + room + 4], 20),
            Err(SrtpError::NoRoom)
        );
        assert_eq!(
            sender.protect_rtcp(&mut [0x80; 40], 7),
            Err(SrtpError::TooShort)
        );
    }
    assert_eq!(
        SrtpKeys::from_exporter(PROFILES[0], &[0; 59]).unwrap_err(),
        SrtpError::KeyLength
    );
    assert!(
        format!(
            "{:?}",
            KeySalt::new(PROFILES[1], &[7; 16], &[7; 12]).unwrap()
        )
        .ends_with("AeadAes128Gcm, .. }")
    );
}
