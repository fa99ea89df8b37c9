use super::*;
use crate::wire::num::Rng;

fn one(part: &[u8]) -> Rtcp<'_> {
    let mut parts = parse_compound(part);
    let first = parts.next().unwrap().unwrap();
    assert!(parts.next().is_none());
    first
}

fn error(compound: &[u8]) -> RtcpError {
    let mut parts = parse_compound(compound);
    let error = parts.find_map(Result::err).unwrap();
    assert!(parts.next().is_none(), "it goes on after an error");
    error
}

const BLOCK: ReportBlock = ReportBlock {
    ssrc: Ssrc(9),
    fraction_lost: 128,
    cumulative_lost: -3,
    highest_seq: 0x0001_0203,
    jitter: 77,
    last_sr: 0xaabb_ccdd,
    delay_since_last_sr: 65536,
};

#[test]
fn reports_are_read_as_written() {
    let info = SenderInfo {
        ntp: 0x0102_0304_0506_0708,
        rtp_time: RtpTime(5),
        packets: 6,
        octets: 7,
    };
    let mut buf = [0; 1000];
    let len = write_sender_report(&mut buf, Ssrc(1), &info, &[BLOCK]);
    assert_eq!(len, 28 + 24);
    match one(&buf[..len]) {
        Rtcp::SenderReport {
            ssrc,
            info: read,
            blocks,
        } => {
            assert_eq!((ssrc, read), (Ssrc(1), info));
            assert_eq!(blocks.collect::<Vec<_>>(), [BLOCK]);
        }
        other => panic!("{other:?}"),
    }
    let len = write_receiver_report(&mut buf, Ssrc(2), &[BLOCK; 40]);
    match one(&buf[..len]) {
        Rtcp::ReceiverReport { ssrc, blocks } => assert_eq!((ssrc, blocks.count()), (Ssrc(2), 31)),
        other => panic!("{other:?}"),
    }
    let worst = ReportBlock {
        cumulative_lost: i32::MAX,
        ..BLOCK
    };
    let len = write_receiver_report(&mut buf, Ssrc(2), &[worst]);
    let Rtcp::ReceiverReport { mut blocks, .. } = one(&buf[..len]) else {
        panic!()
    };
    assert_eq!(blocks.next().unwrap().cumulative_lost, 0x7f_ffff);
}

#[test]
fn names_of_any_length_are_read_as_written() {
    let mut buf = [0; 400];
    for len in 0..=255 {
        let cname = "n".repeat(len);
        let len = write_sdes_cname(&mut buf, Ssrc(3), &cname);
        let Rtcp::Sdes(names) = one(&buf[..len]) else {
            panic!()
        };
        assert_eq!(names.collect::<Vec<_>>(), [(Ssrc(3), cname.as_bytes())]);
    }
    let two = [
        0x82, 202, 0, 6, 0, 0, 0, 1, 2, 1, b'x', 1, 1, b'a', 0, 0, // NAME x, CNAME a
        0, 0, 0, 2, 1, 2, b'b', b'c', 0, 0, 0, 0,
    ];
    let Rtcp::Sdes(names) = one(&two) else {
        panic!()
    };
    assert_eq!(
        names.collect::<Vec<_>>(),
        [(Ssrc(1), &b"a"[..]), (Ssrc(2), &b"bc"[..])]
    );
}

#[test]
fn lost_packets_share_pairs_and_come_back_over_the_wrap() {
    let mut buf = [0; 400];
    let lost = [65530, 65535, 0, 10, 11, 300].map(SeqNo);
    let len = write_nack(&mut buf, Ssrc(1), Ssrc(2), &lost);
    assert_eq!(len, 12 + 3 * 4);
    match one(&buf[..len]) {
        Rtcp::Nack {
            sender: Ssrc(1),
            media: Ssrc(2),
            lost: read,
        } => assert_eq!(read.collect::<Vec<_>>(), lost),
        other => panic!("{other:?}"),
    }
    let Rtcp::Nack { lost, .. } = one(&[
        0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff,
    ]) else {
        panic!()
    };
    assert_eq!(
        lost.collect::<Vec<_>>(),
        (0..17)
            .map(|i| SeqNo(65535).wrapping_add(i))
            .collect::<Vec<_>>()
    );
    assert_eq!(write_nack(&mut buf, Ssrc(1), Ssrc(2), &[]), 0);
}

#[test]
fn keyframe_requests_and_goodbyes_are_read_as_written() {
    let mut buf = [0; 100];
    let mut len = write_pli(&mut buf, Ssrc(1), Ssrc(2));
    len += write_fir(&mut buf[len..], Ssrc(3), Ssrc(4), 5);
    len += write_bye(&mut buf[len..], Ssrc(6));
    let parts: Vec<_> = parse_compound(&buf[..len]).map(Result::unwrap).collect();
    let [
        Rtcp::Pli {
            sender: Ssrc(1),
            media: Ssrc(2),
        },
        Rtcp::Fir {
            sender: Ssrc(3),
            requests,
        },
        Rtcp::Bye(gone),
    ] = &parts[..]
    else {
        panic!("{parts:?}")
    };
    assert_eq!(requests.clone().collect::<Vec<_>>(), [(Ssrc(4), 5)]);
    assert_eq!(gone.clone().collect::<Vec<_>>(), [Ssrc(6)]);
}

#[test]
fn bitrate_estimates_are_read_and_impossible_ones_bounded() {
    let mut remb = [
        0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0, 0, 0, 0, 0, 0, 8,
    ];
    let rate = |remb: &[u8]| match one(remb) {
        Rtcp::Remb {
            sender: Ssrc(1),
            bitrate,
            sources,
        } => {
            assert_eq!(sources.collect::<Vec<_>>(), [Ssrc(8)]);
            bitrate
        }
        other => panic!("{other:?}"),
    };
    remb[17..20].copy_from_slice(&[1 << 2, 0, 3]); // 3 << 1
    assert_eq!(rate(&remb), 6);
    remb[17..20].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert_eq!(rate(&remb), u64::MAX);
    remb[16] = 2;
    assert_eq!(error(&remb), RtcpError::Truncated);
    remb[12] = b'X';
    assert!(matches!(
        one(&remb),
        Rtcp::Other {
            packet_type: 206,
            format: 15
        }
    ));
}

#[test]
fn an_estimate_comes_back_with_its_streams_and_18_bits_of_its_rate() {
    let mut rng = Rng::new(22);
    let mut buf = [0; 1200];
    let rates = [0, 1, 0x3_ffff, 0x4_0000, 0x7_ffff, 20_000_000, u64::MAX];
    let random = std::iter::repeat_with(|| u64::from(rng.next_u32()) << (rng.next_u32() % 33));
    for (round, rate) in rates.into_iter().chain(random).take(20_000).enumerate() {
        let sources: Vec<_> = (1..=round as u32 % 300 + 1).map(Ssrc).collect();
        let len = write_remb(&mut buf, Ssrc(7), rate, &sources);
        let Rtcp::Remb {
            sender: Ssrc(7),
            bitrate,
            sources: read,
        } = one(&buf[..len])
        else {
            panic!("{:?}", &buf[..len]);
        };
        assert!(read.eq(sources.iter().copied().take(255)));
        assert!(
            bitrate <= rate && rate - bitrate <= rate >> 17,
            "{rate}: {bitrate}"
        );
    }
    assert_eq!(write_remb(&mut buf, Ssrc(7), 1_000, &[]), 0);
    // 1,000,000 = 250,000 << 2.
    let len = write_remb(&mut buf, Ssrc(0x01020304), 1_000_000, &[Ssrc(0x05060708)]);
    let expected = b"\x8f\xce\0\x05\x01\x02\x03\x04\0\0\0\0REMB\x01\x0b\xd0\x90\x05\x06\x07\x08";
    assert_eq!(&buf[..len], expected);
}

/// As Chromium and Firefox write it: what does not end on a word is padded by one to three bytes.
#[test]
fn feedback_that_is_padded_to_a_word_is_read() {
    for count in 1..=7u8 {
        let deltas = usize::from(count);
        let padding = (4 - (2 + deltas) % 4) % 4;
        let words = (16 + 2 + deltas + padding) / 4;
        let mut packet = vec![0x8f | u8::from(padding > 0) << 5, 205, 0, words as u8];
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 40, 0, count, 0, 0, 9, 3]);
        packet.extend((1 << 13 | u16::from(count)).to_be_bytes());
        packet.extend(std::iter::repeat_n(4, deltas + padding));
        if padding > 0 {
            *packet.last_mut().unwrap() = padding as u8;
        }
        let Rtcp::Twcc(feedback) = one(&packet) else {
            panic!("{count}");
        };
        let told: Vec<_> = feedback.packets().collect();
        assert_eq!(told.len(), deltas);
        assert!(told.iter().all(|(_, at)| at.is_some()), "{count}: {told:?}");
    }
}

#[test]
fn a_malformed_part_ends_the_compound() {
    let mut buf = [0; 100];
    let len = write_pli(&mut buf, Ssrc(1), Ssrc(2));
    for cut in 1..len {
        assert_eq!(error(&buf[..cut]), RtcpError::Truncated);
    }
    assert_eq!(error(&[0x81, 206, 0, 1, 0, 0, 0, 1]), RtcpError::Truncated);
    assert_eq!(error(&[0x9f, 201, 0, 1, 0, 0, 0, 1]), RtcpError::Truncated); // 31 blocks claimed
    assert_eq!(error(&[0x9f, 203, 0, 1, 0, 0, 0, 1]), RtcpError::Truncated);
    assert_eq!(error(&[0x41, 206, 0, 1, 0, 0, 0, 1]), RtcpError::Version);
    assert_eq!(error(&[0xa0, 201, 0, 1, 0, 0, 0, 8]), RtcpError::Padding);
    assert_eq!(error(&[0xa0, 201, 0, 0]), RtcpError::Padding);
    assert_eq!(error(&[0xa0, 201, 0, 1, 0, 0, 0, 0]), RtcpError::Padding);
    assert!(matches!(
        one(&[0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4]),
        Rtcp::ReceiverReport { ssrc: Ssrc(1), .. }
    ));
}

#[test]
fn nothing_is_written_where_it_does_not_fit() {
    let full = [0; 100].len();
    for room in 0..full {
        let mut buf = vec![0; room];
        for (len, needed) in [
            (
                write_sender_report(&mut buf, Ssrc(1), &SenderInfo::default(), &[BLOCK]),
                52,
            ),
            (write_receiver_report(&mut buf, Ssrc(1), &[BLOCK]), 32),
            (write_sdes_cname(&mut buf, Ssrc(1), "name"), 16),
            (write_nack(&mut buf, Ssrc(1), Ssrc(2), &[SeqNo(5)]), 16),
            (write_pli(&mut buf, Ssrc(1), Ssrc(2)), 12),
            (write_fir(&mut buf, Ssrc(1), Ssrc(2), 1), 20),
            (write_bye(&mut buf, Ssrc(1)), 8),
            (write_remb(&mut buf, Ssrc(1), 9, &[Ssrc(2), Ssrc(3)]), 28),
        ] {
            assert_eq!(len, if room >= needed { needed } else { 0 });
        }
    }
}

#[test]
fn random_compounds_never_panic_and_yield_no_more_than_they_hold() {
    let mut rng = Rng::new(21);
    for _ in 0..50_000 {
        let mut compound: Vec<u8> = (0..rng.below(100))
            .map(|_| (rng.next_u32() & rng.next_u32()) as u8)
            .collect();
        if compound.len() >= 4 {
            compound[0] = 0x80 | compound[0] & 0x3f;
            compound[1] = 200 + rng.below(8) as u8;
            compound[2] = 0;
            compound[3] = rng.below(compound.len() as u64 / 4 + 1) as u8;
        }
        let bound = 17 * compound.len() + 14 * 256;
        for part in parse_compound(&compound) {
            match part {
                Ok(Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. }) => {
                    assert!(blocks.count() <= bound);
                }
                Ok(Rtcp::Sdes(names)) => assert!(names.count() <= bound),
                Ok(Rtcp::Bye(sources) | Rtcp::Remb { sources, .. }) => {
                    assert!(sources.count() <= bound)
                }
                Ok(Rtcp::Nack { lost, .. }) => assert!(lost.count() <= bound),
                Ok(Rtcp::Fir { requests, .. }) => assert!(requests.count() <= bound),
                Ok(Rtcp::Twcc(feedback)) => assert_eq!(
                    feedback.packets().count(),
                    usize::from(feedback.status_count)
                ),
                Ok(Rtcp::Xr { echoes, .. }) => assert!(echoes.count() <= bound),
                Ok(Rtcp::Pli { .. } | Rtcp::Other { .. }) | Err(_) => {}
            }
        }
    }
}
