use super::*;
use crate::wire::num::Rng;
use crate::wire::rtcp::{Rtcp, parse_compound};

fn feedback(packet: &[u8]) -> Feedback<'_> {
    match parse_compound(packet).next() {
        Some(Ok(Rtcp::Twcc(feedback))) => feedback,
        other => panic!("{other:?}"),
    }
}

fn build(recorder: &mut TwccRecorder) -> Option<Vec<(u16, Option<i64>)>> {
    let mut buf = [0; 1200];
    let len = recorder.build(&mut buf, Ssrc(1), Ssrc(2))?;
    Some(
        feedback(&buf[..len])
            .packets()
            .map(|(seq, at)| (seq.0, at))
            .collect(),
    )
}

#[test]
fn arrivals_come_back_in_microseconds_with_the_lost_between_them() {
    let mut recorder = TwccRecorder::new();
    assert!(!recorder.has_unreported());
    for (seq, micros) in [
        (65534, 1_000_000),
        (65535, 1_000_500),
        (2, 1_100_000),
        (1, 1_100_250),
    ] {
        recorder.on_packet(seq, Duration::from_micros(micros));
    }
    recorder.on_packet(1, Duration::from_secs(9)); // a duplicate
    let expected = vec![
        (65534, Some(1_000_000)),
        (65535, Some(1_000_500)),
        (0, None),
        (1, Some(1_100_250)),
        (2, Some(1_100_000)),
    ];
    assert_eq!(build(&mut recorder), Some(expected));
    assert_eq!(build(&mut recorder), None);
}

#[test]
fn a_late_packet_brings_back_what_followed_it() {
    let mut recorder = TwccRecorder::new();
    recorder.on_packet(1, Duration::from_millis(64));
    recorder.on_packet(3, Duration::from_millis(65));
    assert_eq!(build(&mut recorder).unwrap().len(), 3);
    recorder.on_packet(2, Duration::from_millis(66));
    assert_eq!(
        build(&mut recorder),
        Some(vec![(2, Some(66_000)), (3, Some(65_000))])
    );
    recorder.on_packet(4, Duration::from_millis(67));
    assert_eq!(build(&mut recorder), Some(vec![(4, Some(67_000))]));
}

#[test]
fn arrivals_far_apart_go_into_feedback_of_their_own() {
    let mut recorder = TwccRecorder::new();
    recorder.on_packet(1, Duration::from_secs(1));
    recorder.on_packet(2, Duration::from_secs(60));
    assert_eq!(build(&mut recorder), Some(vec![(1, Some(1_000_000))]));
    assert_eq!(build(&mut recorder), Some(vec![(2, Some(60_000_000))]));
    assert_eq!(build(&mut recorder), None);
}

#[test]
fn a_random_stream_is_reported_exactly_in_buffers_of_any_size() {
    let mut rng = Rng::new(9);
    for round in 0..300 {
        let mut recorder = TwccRecorder::new();
        let (mut seq, mut at) = (
            rng.next_u32() as u16,
            Duration::from_millis(rng.below(100_000)),
        );
        let loss = [1, 10, 50, 90][round % 4];
        let mut sent = Vec::new();
        for _ in 0..rng.below(400) + 1 {
            seq = seq.wrapping_add(1);
            at += Duration::from_micros(
                rng.below(if round % 3 == 0 { 100_000 } else { 3_000 }) / 250 * 250,
            );
            if rng.below(100) >= loss {
                recorder.on_packet(seq, at);
                sent.push((seq, at.as_micros() as i64));
            }
        }
        let mut reported = Vec::new();
        let mut buf = vec![0; 60 + rng.below(1000) as usize];
        let mut expected_count = 0;
        while let Some(len) = recorder.build(&mut buf, Ssrc(7), Ssrc(8)) {
            let feedback = feedback(&buf[..len]);
            assert_eq!(
                (len % 4, feedback.sender, feedback.media),
                (0, Ssrc(7), Ssrc(8))
            );
            assert_eq!(feedback.feedback_count, expected_count);
            expected_count = expected_count.wrapping_add(1);
            assert_eq!(
                feedback.packets().count(),
                usize::from(feedback.status_count)
            );
            reported.extend(
                feedback
                    .packets()
                    .filter_map(|(seq, at)| Some((seq.0, at?))),
            );
        }
        assert_eq!(reported, sent, "round {round}");
    }
}

#[test]
fn jumps_in_the_numbers_cost_no_more_than_the_window() {
    let mut recorder = TwccRecorder::new();
    let mut rng = Rng::new(4);
    for _ in 0..50_000 {
        recorder.on_packet(
            rng.next_u32() as u16,
            Duration::from_micros(rng.below(1 << 40)),
        );
        if rng.below(20) == 0 {
            while let Some(report) = build(&mut recorder) {
                assert!(report.len() <= SLOTS);
            }
        }
    }
    recorder.on_packet(0, Duration::ZERO);
    assert_eq!(recorder.build(&mut [0; 21], Ssrc(1), Ssrc(2)), None);
    assert_eq!(recorder.build(&mut [], Ssrc(1), Ssrc(2)), None);
}

#[test]
fn counts_that_claim_more_than_is_there_are_refused() {
    let parse = |body: &[u8]| Feedback::parse(Ssrc(1), Ssrc(2), body).map(|f| f.packets().count());
    let head = |count: u16| [[0, 1], count.to_be_bytes(), [0xff, 0xff], [0xfe, 3]].concat();
    let with = |count, rest: &[u8]| [head(count), rest.to_vec()].concat();
    assert_eq!(parse(&head(0)), Ok(0));
    assert_eq!(
        Feedback::parse(Ssrc(1), Ssrc(2), &head(0))
            .unwrap()
            .reference_time,
        -2
    );
    assert_eq!(parse(&head(1)), Err(FeedbackError::Truncated));
    assert_eq!(
        parse(&with(0xffff, &[0x1f, 0xff])),
        Err(FeedbackError::Truncated)
    ); // a run of 8191 lost
    assert_eq!(parse(&with(8191, &[0x1f, 0xff])), Ok(8191));
    assert_eq!(
        parse(&with(3, &[0x20, 3, 1, 1])),
        Err(FeedbackError::Truncated)
    ); // a delta is missing
    assert_eq!(parse(&with(3, &[0x20, 3, 1, 1, 1])), Ok(3));
    assert_eq!(
        parse(&with(3, &[0x60, 3, 1, 1, 1])),
        Err(FeedbackError::Malformed)
    ); // the reserved symbol
    assert_eq!(
        parse(&with(3, &[0xff, 0xff, 1, 1, 1])),
        Err(FeedbackError::Malformed)
    );
    assert_eq!(parse(&with(1, &[0, 0, 0, 0, 0x20, 1, 9])), Ok(1)); // runs of no packets
}
