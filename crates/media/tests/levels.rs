//! How loud tracks are, as their packets say it in a header extension (RFC 6464) and as the control plane is told.

use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtp;
use parlour_media::{Command, Event, Kind, Level, ProducerId, ProducerSpec, RefuseReason};
use parlour_sim::raw::{RawPeer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Sim};
use std::time::Duration;

const LEVEL: u8 = 2;
const MS: Duration = Duration::from_millis(1);

/// Two who speak, producers 1 and 2.
struct Room {
    sim: Sim,
    peers: [RawPeer; 2],
    seq: u16,
}

impl Room {
    fn new() -> Room {
        let mut sim = Sim::new(3);
        let peers = [1, 2].map(|number| {
            let peer = RawPeer::connect(&mut sim, number);
            sim.command(Command::AddProducer(ProducerSpec {
                producer: ProducerId(number),
                ssrc: Some(Ssrc(number as u32)),
                level_extension: Some(LEVEL),
                ..producer(peer.transport, Kind::Audio)
            }));
            peer
        });
        sim.events.clear();
        Room { sim, peers, seq: 0 }
    }

    fn watch(&mut self, producer: u64, every: Option<Duration>) {
        let producer = ProducerId(producer);
        self.sim.command(Command::WatchLevel { producer, every });
    }

    /// A packet of each, with these elements in its header.
    fn send(&mut self, extensions: [&[(u8, &[u8])]; 2]) {
        self.seq = self.seq.wrapping_add(1);
        for at in [0, 1] {
            let mut packet = vec![9; 400];
            let len = rtp::write_header(
                &mut packet,
                false,
                PayloadType(AUDIO_PT),
                SeqNo(self.seq),
                RtpTime(u32::from(self.seq) * 960),
                Ssrc(at as u32 + 1),
                extensions[at],
            );
            assert!(len > 0);
            packet.truncate(len + 80);
            self.peers[at].send_rtp(&mut self.sim, &packet);
        }
    }

    /// They go on so for so many milliseconds.
    fn speak(&mut self, levels: [u8; 2], milliseconds: u32) {
        for _ in 0..milliseconds / 20 {
            let [one, two] = levels.map(|level| [level]);
            self.send([&[(LEVEL, &one)], &[(LEVEL, &two)]]);
            self.sim.run(MS * 20);
        }
    }

    fn told(&mut self) -> Vec<(u64, Level)> {
        let told = self.sim.events.drain(..).filter_map(|event| match event {
            Event::ProducerLevel {
                producer, level, ..
            } => Some((producer.0, level)),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn who_is_watched_is_told_of_and_nobody_else() {
    let mut room = Room::new();
    room.speak([20, 20], 2000);
    assert_eq!(room.told(), []);
    room.watch(2, Some(MS * 100));
    room.speak([20, 127], 2000);
    room.speak([20, 20], 2000);
    let told = room.told();
    assert!(told.iter().all(|(producer, _)| *producer == 2));
    assert!((15..=45).contains(&told.len()), "{}", told.len());
    let last = told.last().unwrap().1;
    assert!(last.speaks && last.volume >= 70, "{last:?}");
    assert!((3_000..=4_000).contains(&last.spoken_ms), "{last:?}");
    room.speak([127, 127], 5000);
    let told = room.told();
    let last = told.last().unwrap().1;
    assert_eq!((last.volume, last.speaks), (0, false));
    room.speak([127, 127], 5000);
    assert_eq!(room.told(), [], "nothing changed");
    room.watch(2, None);
    room.speak([20, 20], 1000);
    assert_eq!(room.told(), []);
}

/// Whatever stands where a level is expected, and wherever one stands that is none: it says nothing, or what it says, and
/// the sound goes on.
#[test]
fn extensions_of_odd_lengths_and_under_other_ids_say_nothing() {
    let mut room = Room::new();
    for producer in [1, 2] {
        room.watch(producer, Some(MS * 50));
    }
    let long = [10; 200];
    let odd: [&[(u8, &[u8])]; 5] = [
        &[],
        &[(LEVEL, &[10, 10])],
        &[(LEVEL, &[10; 16])],
        &[(LEVEL, &long)],
        &[(LEVEL + 1, &[10]), (14, &[10])],
    ];
    for at in 0..500 {
        room.send([odd[at % odd.len()], odd[(at + 3) % odd.len()]]);
        room.sim.run(MS * 4);
    }
    assert_eq!(room.told(), []);
    // In the two-byte form a level is one byte, too.
    for _ in 0..100 {
        let two_bytes: &[(u8, &[u8])] = &[(LEVEL, &[20]), (7, &long)];
        room.send([two_bytes, &[]]);
        room.sim.run(MS * 20);
    }
    let told = room.told();
    assert!(told.iter().all(|(producer, _)| *producer == 1) && told.len() > 20);
    let snapshot = room.sim.router.snapshot();
    assert!(snapshot.producers.iter().all(|it| it.packets >= 550));
}

/// A thousand a second, from the least to the most, are told of as often as it was asked for.
#[test]
fn a_storm_of_levels_is_no_storm_of_reports() {
    let mut room = Room::new();
    room.watch(1, Some(MS * 200));
    // Asked for more often than may be.
    room.watch(2, Some(Duration::ZERO));
    for at in 0..3000u32 {
        let level = if at % 2 == 0 { 0 } else { 127 };
        room.send([&[(LEVEL, &[level])], &[(LEVEL, &[level])]]);
        room.sim.run(MS);
    }
    let told = room.told();
    let of = |which| {
        told.iter()
            .filter(|(producer, _)| *producer == which)
            .count()
    };
    assert!((10..=16).contains(&of(1)), "{}", of(1));
    assert!((40..=61).contains(&of(2)), "{}", of(2));
}

/// Another's sound under the own name is nobody's: the keys tell whose it is.
#[test]
fn nobody_is_loud_in_the_name_of_another() {
    let mut room = Room::new();
    room.watch(2, Some(MS * 50));
    for seq in 1..200 {
        let mut packet = vec![9; 100];
        let level = (LEVEL, &[5][..]);
        let (number, time) = (SeqNo(seq), RtpTime(u32::from(seq) * 960));
        let kind = PayloadType(AUDIO_PT);
        let of_other = Ssrc(2);
        let len = rtp::write_header(&mut packet, false, kind, number, time, of_other, &[level]);
        packet.truncate(len + 20);
        room.peers[0].send_rtp(&mut room.sim, &packet);
        room.sim.run(MS * 20);
    }
    assert_eq!(room.told(), []);
    // Neither is what has no level, be it ever so much.
    for seq in 1..200 {
        let packet = rtp_packet(AUDIO_PT, seq, u32::from(seq) * 960, 2, &[0; 80]);
        room.peers[1].send_rtp(&mut room.sim, &packet);
        room.sim.run(MS * 20);
    }
    assert_eq!(room.told(), []);
}

#[test]
fn a_track_that_is_not_there_cannot_be_watched() {
    let mut room = Room::new();
    room.watch(9, Some(MS * 100));
    let refused = room.sim.events.last();
    assert!(
        matches!(
            refused,
            Some(Event::CommandRefused {
                reason: RefuseReason::UnknownProducer,
                ..
            })
        ),
        "{refused:?}"
    );
}
