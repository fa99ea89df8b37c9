//! What waits for the path: how long, and what becomes of it when its source is left or ends.

use super::stage::{BIG, FORWARDED, Stage};
use parlour_media::num::{SeqNo, Ssrc};
use parlour_media::{Command, DropReason, ProducerId, rtcp};
use parlour_sim::raw::rtp_packet;
use parlour_sim::{VIDEO_PT, vp8};

/// A subscriber whose path carries next to nothing, and so many large packets of the big picture for it: what of them has
/// left is as much as may leave at once.
fn held(packets: usize) -> Stage {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(100);
    let mut estimate = [0; 64];
    let len = rtcp::write_remb(&mut estimate, Ssrc(9), 1, &[Ssrc(FORWARDED)]);
    for answer in stage.subscriber.send_rtcp(&mut stage.sim, &estimate[..len]) {
        stage.subscriber.open(&answer);
    }
    for _ in 0..packets {
        large(&mut stage);
    }
    stage
}

fn large(stage: &mut Stage) {
    stage.part(0, true, &vp8(false, true, &[b'L'; 1_200]));
}

/// What was dropped for that reason: in all, which is as much as for the transports together.
fn dropped(stage: &Stage, reason: DropReason) -> u64 {
    let snapshot = stage.sim.router.snapshot();
    let of_transports = snapshot.transports.iter().flat_map(|it| &it.drops);
    let counts = of_transports.filter(|(why, _)| *why == reason);
    let in_all = snapshot.drops.get(reason);
    assert_eq!(
        counts.map(|(_, count)| count).sum::<u64>(),
        in_all,
        "{reason}"
    );
    in_all
}

fn large_got(stage: &Stage) -> u64 {
    let large = stage.got.iter().filter(|it| it.payload.len() > 1_000);
    large.count() as u64
}

#[test]
fn what_waits_of_a_source_that_ends_or_is_left_is_counted() {
    let mut stage = held(20);
    let got = large_got(&stage);
    assert!((5..15).contains(&got), "{got}");
    stage.sim.command(Command::RemoveProducer {
        producer: ProducerId(1),
    });
    assert_eq!(dropped(&stage, DropReason::LeftBehind), 20 - got);

    let mut stage = held(20);
    let got = large_got(&stage);
    stage.want(1);
    stage.frame(1, true, b'S');
    let left = dropped(&stage, DropReason::LeftBehind);
    assert_eq!(left + large_got(&stage), 20);
    assert!(large_got(&stage) - got < 3);
    stage.assert_unbroken();
}

#[test]
fn what_waits_is_given_up_in_time_though_nothing_else_comes() {
    let mut stage = held(30);
    // What is sent again is owed: it takes seconds until anything may leave that can wait.
    stage.wait(20);
    let large = stage.got.iter().filter(|it| it.payload.len() > 1_000);
    let again: Vec<SeqNo> = large.map(|it| SeqNo(it.seq)).collect();
    let mut nack = [0; 64];
    let len = rtcp::write_nack(&mut nack, Ssrc(9), Ssrc(FORWARDED), &again);
    stage.subscriber.send_rtcp(&mut stage.sim, &nack[..len]);
    stage.wait(750);
    assert_eq!(dropped(&stage, DropReason::WaitedTooLong), 0);
    stage.wait(60);
    let given_up = dropped(&stage, DropReason::WaitedTooLong);
    assert_eq!(given_up + large_got(&stage), 30);
    assert!(given_up > 0);
}

#[test]
fn a_packet_that_is_asked_for_while_it_waits_for_the_first_time_goes_out_once() {
    let mut stage = held(0);
    // One that is overtaken by the next, so that its number is kept for it, and comes when nothing may leave any more.
    let late = stage.seqs[0];
    stage.seqs[0] += 1;
    for _ in 0..20 {
        large(&mut stage);
    }
    let newest = stage.got.last().expect("something left").seq;
    let first_large = stage.got.iter().find(|it| it.payload.len() > 1_000);
    let missing = first_large.expect("one that left").seq - 1;
    let before = stage.got.len();
    let time = 7_000_u32.wrapping_add(stage.ms() * 90);
    let packet = rtp_packet(VIDEO_PT, late, time, BIG, &vp8(false, true, b"late"));
    let sent = stage.publisher.send_rtp(&mut stage.sim, &packet);
    stage.take(sent);
    assert_eq!(stage.got.len(), before, "it waits");
    let mut nack = [0; 64];
    let lost = [SeqNo(missing), SeqNo(newest)];
    let len = rtcp::write_nack(&mut nack, Ssrc(9), Ssrc(FORWARDED), &lost);
    let answers = stage.subscriber.send_rtcp(&mut stage.sim, &nack[..len]);
    assert_eq!(answers.len(), 1, "the one that was sent");
    assert_eq!(dropped(&stage, DropReason::NackTooSoon), 1);
}
