//! One picture in several sizes: which of them a subscriber gets, and that it sees one unbroken stream.

mod descriptors;
mod stage;
mod temporal;
mod waiting;

use parlour_media::num::SeqNo;
use parlour_media::rtp;
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, DropReason, Event, Kind, ProducerId, ProducerSpec, Ssrc,
};
use parlour_sim::raw::{consumer, producer};
use parlour_sim::{VIDEO_PT, vp8};
use stage::{SMALL, Stage};

#[test]
fn a_subscriber_stays_with_what_it_has_until_a_keyframe_of_the_other_begins() {
    let mut stage = Stage::both(0);
    assert_eq!(stage.frame(0, true, b'B'), Some(b'B'));
    assert_eq!(stage.frame(1, true, b'S'), None);
    stage.run(20);
    stage.asked.clear();
    stage.want(1);
    stage.wait(600);
    assert_eq!(stage.asked.first(), Some(&SMALL), "the other is asked");
    assert_eq!(stage.frame(0, false, b'b'), Some(b'b'));
    assert_eq!(stage.frame(1, false, b's'), None);
    assert_eq!(stage.frame(1, true, b'K'), Some(b'K'));
    assert_eq!(stage.frame(0, false, b'b'), None);
    assert_eq!(stage.frame(1, false, b's'), Some(b's'));
    stage.run(20);
    stage.want(0);
    assert_eq!(stage.frame(0, true, b'B'), Some(b'B'));
    stage.assert_unbroken();
}

#[test]
fn a_frame_that_is_under_way_is_not_cut_in_two() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    stage.want(1);
    assert_eq!(stage.part(0, false, &vp8(false, true, b"1")), Some(b'1'));
    assert_eq!(stage.frame(1, true, b'S'), None);
    assert_eq!(stage.frame(1, false, b's'), None);
    let before = stage.got.len();
    stage.part(0, true, &vp8(false, false, b"2"));
    let names: Vec<u8> = stage.got[before..].iter().map(|it| it.payload[2]).collect();
    assert_eq!(names, b"2Ss");
    stage.assert_unbroken();
    // Its end may never come.
    stage.want(0);
    assert_eq!(stage.part(1, false, &vp8(false, true, b"1")), Some(b'1'));
    assert_eq!(stage.frame(0, true, b'B'), None);
    stage.wait(120);
    stage.frame(0, false, b'b');
    let last = stage.got.last().map(|it| it.payload[2]);
    assert_eq!(last, Some(b'b'));
    stage.assert_unbroken();
}

#[test]
fn a_keyframe_that_waits_for_the_end_of_a_frame_goes_out_when_the_source_of_that_ends() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    stage.want(1);
    stage.part(0, false, &vp8(false, true, b"1"));
    assert_eq!(stage.frame(1, true, b'S'), None);
    stage.sim.command(Command::RemoveProducer {
        producer: ProducerId(1),
    });
    // Nothing else comes, as of a screen on which nothing moves.
    stage.wait(20);
    assert_eq!(stage.got.last().map(|it| it.payload[2]), Some(b'S'));
    stage.assert_unbroken();
}

#[test]
fn the_other_one_comes_while_one_is_missing_and_the_wanted_one_when_it_is_there_again() {
    let mut stage = Stage::both(1);
    // The small one has not begun.
    for _ in 0..20 {
        stage.wait(33);
        stage.frame(0, true, b'B');
    }
    assert_eq!(stage.got.last().map(|it| it.payload[2]), Some(b'B'));
    stage.frame(1, true, b'S');
    stage.wait(300);
    assert_eq!(stage.frame(1, true, b'S'), Some(b'S'));
    // It ends without a word.
    for _ in 0..40 {
        stage.wait(33);
        stage.frame(0, true, b'B');
    }
    assert_eq!(stage.frame(0, false, b'b'), Some(b'b'));
    stage.assert_unbroken();
}

#[test]
fn a_producer_that_ends_leaves_the_subscriber_to_another_and_the_last_one_ends_it() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    let remove = |id| Command::RemoveProducer {
        producer: ProducerId(id),
    };
    stage.sim.command(remove(1));
    assert_eq!(stage.frame(1, false, b's'), None);
    assert_eq!(stage.frame(1, true, b'S'), Some(b'S'));
    stage.assert_unbroken();
    stage.want(0);
    assert_eq!(stage.frame(1, false, b's'), Some(b's'));
    stage.sim.command(remove(2));
    let snapshot = stage.sim.router.snapshot();
    assert!(snapshot.consumers.is_empty() && snapshot.producers.is_empty());
}

#[test]
fn ten_thousand_switches_a_second_ask_for_few_keyframes_and_break_nothing() {
    let mut stage = Stage::both(0);
    stage.frame(0, true, b'B');
    stage.run(20);
    stage.asked.clear();
    let mut count = 0;
    for round in 0..100 {
        for _ in 0..100 {
            count += 1;
            stage.want(count % 2);
        }
        stage.wait(10);
        let is_keyframe = round % 10 == 9;
        stage.frame(0, is_keyframe, b'b');
        stage.frame(1, is_keyframe, b's');
    }
    assert!(stage.asked.len() <= 8, "{:?}", stage.asked);
    assert!(
        stage.got.len() >= 100,
        "a picture goes on: {}",
        stage.got.len()
    );
    stage.assert_unbroken();
    let snapshot = stage.sim.router.snapshot();
    let listed: Vec<usize> = snapshot.producers.iter().map(|it| it.consumers).collect();
    assert!(listed.iter().all(|it| *it <= 1), "{listed:?}");
}

#[test]
fn encodings_that_share_a_mid_are_told_apart_by_their_rid_for_good() {
    const MID: u8 = 4;
    const RID: u8 = 10;
    const REPAIRED: u8 = 11;
    const RTX: u8 = 97;
    let [high, low] = [(1, "h"), (2, "l")].map(|(id, rid)| ProducerSpec {
        producer: ProducerId(id),
        mid: "0".into(),
        rid: rid.into(),
        ssrc: None,
        mid_extension: Some(MID),
        rid_extension: Some(RID),
        repaired_rid_extension: Some(REPAIRED),
        rtx_payload_type: Some(parlour_media::PayloadType(RTX)),
        ..producer(parlour_media::TransportId(1), Kind::Video)
    });
    let mut stage = Stage::new([high, low], 0);
    let packet = |pt: u8, ssrc: u32, seq: u16, extensions: &[(u8, &[u8])], body: &[u8]| {
        let mut packet = vec![0; 64];
        let (pt, seq) = (parlour_media::PayloadType(pt), SeqNo(seq));
        let time = parlour_media::num::RtpTime(1);
        let len = rtp::write_header(&mut packet, true, pt, seq, time, Ssrc(ssrc), extensions);
        packet.truncate(len);
        [&packet, body].concat()
    };
    let keyframe = vp8(true, true, b"k");
    let named = |rid: &'static [u8]| [(MID, &b"0"[..]), (RID, rid)];
    let mut send = |packet: Vec<u8>| {
        stage.publisher.send_rtp(&mut stage.sim, &packet);
        let snapshot = stage.sim.router.snapshot();
        let told = snapshot
            .producers
            .iter()
            .map(|it| (it.ssrc, it.packets, it.repaired));
        (told.collect::<Vec<_>>(), snapshot.drops)
    };
    let (told, drops) = send(packet(VIDEO_PT, 1, 10, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (None, 0, 0)], "{drops:?}");
    let (told, _) = send(packet(VIDEO_PT, 2, 10, &named(b"l"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 1, 0)]);
    // A third one, one without a RID and one of a wrong MID are nobody's.
    for (ssrc, extensions) in [
        (3, &named(b"x")[..]),
        (4, &named(b"h")[..1]),
        (5, &[(MID, &b"9"[..]), (RID, b"h")][..]),
    ] {
        let (told, drops) = send(packet(VIDEO_PT, ssrc, 10, extensions, &keyframe));
        assert_eq!(told, [(Some(1), 1, 0), (Some(2), 1, 0)]);
        assert_eq!(drops.get(DropReason::UnknownStream), u64::from(ssrc) - 2);
    }
    // One that is known stays what it is, whatever it says later.
    let (told, _) = send(packet(VIDEO_PT, 2, 12, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 2, 0)]);
    // A retransmission names what it repairs.
    let repairs = [(MID, &b"0"[..]), (REPAIRED, b"l")];
    let body = [&11_u16.to_be_bytes()[..], &keyframe].concat();
    let (told, drops) = send(packet(RTX, 20, 1, &repairs, &body));
    assert_eq!(told, [(Some(1), 1, 0), (Some(2), 3, 1)], "{drops:?}");
    // By a restart under another SSRC only that one goes on anew.
    let (told, _) = send(packet(VIDEO_PT, 30, 500, &named(b"h"), &keyframe));
    assert_eq!(told, [(Some(30), 2, 0), (Some(2), 3, 1)]);
    let rids: Vec<String> = stage
        .sim
        .router
        .snapshot()
        .producers
        .into_iter()
        .map(|it| it.rid)
        .collect();
    assert_eq!(rids, ["h", "l"]);
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let mut stage = Stage::both(0);
    let audio = ProducerSpec {
        producer: ProducerId(3),
        ssrc: Some(Ssrc(77)),
        ..producer(stage.publisher.transport, Kind::Audio)
    };
    stage.sim.command(Command::AddProducer(audio.clone()));
    let template = consumer(stage.subscriber.transport, &audio, 9000);
    for (at, producers) in [vec![], vec![1, 1], vec![1, 3], vec![1, 2, 8, 9], vec![8, 9]]
        .into_iter()
        .enumerate()
    {
        stage.sim.command(Command::AddConsumer(ConsumerSpec {
            consumer: ConsumerId(10),
            producers: producers.into_iter().map(ProducerId).collect(),
            ..template.clone()
        }));
        let is_refused = |it: &&Event| matches!(it, Event::CommandRefused { .. });
        let refused = stage.sim.events.iter().filter(is_refused).count();
        assert_eq!(refused, at + 1);
    }
}
