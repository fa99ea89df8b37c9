//! What a peer may make us look at by RTCP. Every look-up is by SSRC, and their number has a bound of its own for each
//! peer, so that one peer's storm is paid by that peer.

use parlour_media::{Command, ConsumerId, ConsumerSpec, DropReason, Kind};
use parlour_sim::raw::{RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Sim};
use std::time::Duration;

const TRACKS: u32 = 500;

/// A subscriber of many tracks and one of a single one, from the same publisher.
struct Room {
    sim: Sim,
    publisher: RawPeer,
    many: RawPeer,
    one: RawPeer,
}

impl Room {
    fn new() -> Room {
        let mut sim = Sim::new(1);
        let [publisher, many, one] = [1, 2, 3].map(|number| RawPeer::connect(&mut sim, number));
        let track = producer(publisher.transport, Kind::Audio);
        sim.command(Command::AddProducer(track.clone()));
        let tracks = (0..TRACKS).map(|track| (&many, 10_000 + track));
        for (peer, ssrc) in tracks.chain([(&one, 20_000)]) {
            sim.command(Command::AddConsumer(ConsumerSpec {
                consumer: ConsumerId(ssrc.into()),
                ..consumer(peer.transport, &track, ssrc)
            }));
        }
        let packet = rtp_packet(AUDIO_PT, 1, 0, 1000, b"sound");
        let mut room = Room {
            sim,
            publisher,
            many,
            one,
        };
        room.publisher.send_rtp(&mut room.sim, &packet);
        room
    }

    fn over_budget(&self) -> u64 {
        let drops = self.sim.router.snapshot().drops;
        drops.get(DropReason::RtcpOverBudget)
    }

    fn loss_told_of(&self, ssrc: u32) -> f64 {
        let consumers = self.sim.router.snapshot().consumers;
        let it = consumers.iter().find(|it| it.id == ConsumerId(ssrc.into()));
        it.unwrap().fraction_lost
    }
}

fn part(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
    let words = (4 + body.len()) / 4 - 1;
    let mut part = vec![0x80 | count, kind];
    part.extend((words as u16).to_be_bytes());
    part.extend(body);
    part
}

/// A receiver report on these streams (RFC 3550 §6.4.2).
fn report(ssrcs: impl Iterator<Item = u32>, fraction_lost: u8) -> Vec<u8> {
    let mut body = 9u32.to_be_bytes().to_vec();
    let mut count = 0;
    for ssrc in ssrcs {
        body.extend(ssrc.to_be_bytes());
        body.push(fraction_lost);
        body.extend([0; 19]);
        count += 1;
    }
    part(201, count, &body)
}

/// A FIR with this many entries for one stream (RFC 5104 §4.3.1).
fn fir(ssrc: u32, entries: usize) -> Vec<u8> {
    let mut body = [9u32.to_be_bytes(), [0; 4]].concat();
    for number in 0..entries {
        body.extend(ssrc.to_be_bytes());
        body.extend([number as u8, 0, 0, 0]);
    }
    part(206, 4, &body)
}

#[test]
fn a_subscriber_of_a_full_room_reports_on_every_track_each_second_and_all_of_it_counts() {
    let mut room = Room::new();
    for second in 1..=5u8 {
        for first in (0..TRACKS).step_by(25) {
            let ssrcs = (first..first + 25).map(|track| 10_000 + track);
            room.many.send_rtcp(&mut room.sim, &report(ssrcs, second));
        }
        room.sim.run(Duration::from_secs(1));
    }
    assert_eq!(room.over_budget(), 0);
    for track in 0..TRACKS {
        assert_eq!(room.loss_told_of(10_000 + track), 5.0 / 256.0, "{track}");
    }
}

#[test]
fn storms_of_reports_and_requests_are_cut_off_for_who_sends_them_and_for_nobody_else() {
    let bye = part(203, 31, &[0; 124]);
    let storms = [fir(10_499, 146), report((0..31).map(|_| 10_499), 1), bye];
    for storm in storms {
        let mut room = Room::new();
        for _ in 0..1000 {
            room.many.send_rtcp(&mut room.sim, &storm);
        }
        assert!(room.over_budget() > 800, "{}", room.over_budget());
        let asked = room.sim.router.snapshot().consumers;
        let asked: u64 = asked.iter().map(|it| it.keyframe_requests).sum();
        assert!(asked <= 4096, "{asked} requests were looked at");
        let before = room.over_budget();
        room.one
            .send_rtcp(&mut room.sim, &report([20_000].into_iter(), 77));
        assert_eq!(room.loss_told_of(20_000), 77.0 / 256.0);
        assert_eq!(room.over_budget(), before);
        // A second later the storm's sender is heard again.
        room.sim.run(Duration::from_secs(1));
        room.many
            .send_rtcp(&mut room.sim, &report([10_000].into_iter(), 55));
        assert_eq!(room.loss_told_of(10_000), 55.0 / 256.0);
    }
}

#[test]
fn what_a_nack_names_beyond_its_bound_is_counted_by_name() {
    let mut room = Room::new();
    let mut body = [9u32.to_be_bytes(), 10_000u32.to_be_bytes()].concat();
    for item in 0..40u16 {
        body.extend((item * 17).to_be_bytes());
        body.extend([0xff; 2]);
    }
    room.many.send_rtcp(&mut room.sim, &part(205, 1, &body));
    let drops = room.sim.router.snapshot().drops;
    assert_eq!(drops.get(DropReason::NackTooMany), 40 * 17 - 512);
}

#[test]
fn whoever_stays_is_served_whatever_order_others_leave_in() {
    let mut room = Room::new();
    let mut tracks: Vec<u32> = (0..TRACKS).collect();
    let mut seq = 1;
    while !tracks.is_empty() {
        for _ in 0..50 {
            let at = room.sim.rng.below(tracks.len() as u64) as usize;
            let consumer = ConsumerId((10_000 + tracks.swap_remove(at)).into());
            room.sim.command(Command::RemoveConsumer { consumer });
        }
        seq += 1;
        let packet = rtp_packet(AUDIO_PT, seq, 0, 1000, b"sound");
        let sent = room.publisher.send_rtp(&mut room.sim, &packet);
        let to = |address| sent.iter().filter(|(to, _)| *to == address).count();
        assert_eq!(
            (to(room.many.address), to(room.one.address)),
            (tracks.len(), 1)
        );
    }
    let transport = room.many.transport;
    room.sim.command(Command::RemoveTransport { transport });
    let packet = rtp_packet(AUDIO_PT, seq + 1, 0, 1000, b"sound");
    let sent = room.publisher.send_rtp(&mut room.sim, &packet);
    assert_eq!(sent.len(), 1);
}
