//! Two who show films and speak in turns, and one whose path carries one of the films.

use super::stage::{Got, MS, PACKET, SOUND, Sent, Viewer, assert_unbroken, longest_wait};
use parlour_media::num::{PayloadType, RtpTime, SeqNo, Ssrc};
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::rtp::{self, is_rtp_or_rtcp};
use parlour_media::{Command, ConsumerId, ConsumerSpec, Kind, ProducerId, ProducerSpec};
use parlour_sim::raw::{RAW_PASSWORD, RawPeer, consumer, producer, rtp_packet};
use parlour_sim::{AUDIO_PT, Conditions, Sim, TWCC_EXTENSION, VIDEO_PT, vp8};
use std::time::Duration;

const LEVEL: u8 = 2;
const LOUD: u8 = 30;
const QUIET: u8 = 80;
/// What the films and the sounds of the two go out as to the one who looks.
const FILMS: [u32; 2] = [3100, 3200];
const SOUNDS: [u32; 2] = [SOUND, SOUND + 100];

/// One of the two. Its film is 730 kbit/s.
struct Guest {
    peer: RawPeer,
    level: u8,
    keyframe: bool,
    seq: [u16; 2],
}

struct Meeting {
    sim: Sim,
    guests: [Guest; 2],
    viewer: Viewer,
    time: Duration,
}

impl Meeting {
    fn new(link: Conditions, ranks: [u8; 2]) -> Meeting {
        let mut sim = Sim::new(5);
        let viewer = RawPeer::connect(&mut sim, 9);
        let guests = [0, 1].map(|at| {
            let peer = RawPeer::connect(&mut sim, at + 1);
            let of = |kind, ssrc: u32, extension| ProducerSpec {
                producer: ProducerId(u64::from(ssrc)),
                mid: ssrc.to_string(),
                ssrc: Some(Ssrc(ssrc)),
                level_extension: extension,
                ..producer(peer.transport, kind)
            };
            let place = at as usize;
            let film = of(Kind::Video, 100 + at as u32, None);
            let sound = of(Kind::Audio, 200 + at as u32, Some(LEVEL));
            let shown = [(film, FILMS[place]), (sound, SOUNDS[place])];
            for (track, ssrc) in shown {
                let consumer = ConsumerSpec {
                    consumer: ConsumerId(u64::from(ssrc)),
                    mid: ssrc.to_string(),
                    twcc_extension: Some(TWCC_EXTENSION),
                    pads: false,
                    rank: ranks[place],
                    ..consumer(viewer.transport, &track, ssrc)
                };
                sim.command(Command::AddProducer(track));
                sim.command(Command::AddConsumer(consumer));
            }
            Guest {
                peer,
                level: QUIET,
                keyframe: true,
                seq: [10, 10],
            }
        });
        Meeting {
            sim,
            guests,
            viewer: Viewer::new(viewer, link, 1),
            time: Duration::ZERO,
        }
    }

    /// It goes on for so many seconds; returns what came of the films in the meantime.
    fn go_on(&mut self, seconds: u64, loud: Option<usize>) -> [Vec<Got>; 2] {
        for (at, guest) in self.guests.iter_mut().enumerate() {
            guest.level = if loud == Some(at) { LOUD } else { QUIET };
        }
        let begun = self.time;
        while self.time < begun + Duration::from_secs(seconds) {
            self.time += MS;
            let milli = self.time.as_millis() as u32;
            for at in [0, 1] {
                if milli.is_multiple_of(33) {
                    self.film(at, milli);
                }
                if milli.is_multiple_of(20) {
                    self.speak(at, milli);
                }
            }
            self.sim.sent = Some(Vec::new());
            self.sim.run(MS);
            let sent = self.sim.sent.take().unwrap();
            self.launch(sent);
            self.viewer.receive(self.time);
            let sent = self.viewer.report(&mut self.sim, self.time);
            self.launch(sent);
        }
        FILMS.map(|ssrc| {
            let got = self.viewer.of(ssrc, 0).into_iter();
            got.filter(|it| it.at > begun.as_millis()).collect()
        })
    }

    fn send(&mut self, at: usize, packet: &[u8]) {
        let sent = self.guests[at].peer.send_rtp(&mut self.sim, packet);
        self.launch(sent);
    }

    fn film(&mut self, at: usize, milli: u32) {
        let keyframe = std::mem::take(&mut self.guests[at].keyframe);
        for number in 0..if keyframe { 10 } else { 3 } {
            let payload = vp8(keyframe, number == 0, &[7; PACKET]);
            let seq = self.guests[at].seq[0];
            self.guests[at].seq[0] = seq.wrapping_add(1);
            let ssrc = 100 + at as u32;
            self.send(at, &rtp_packet(VIDEO_PT, seq, milli * 90, ssrc, &payload));
        }
    }

    fn speak(&mut self, at: usize, milli: u32) {
        let guest = &mut self.guests[at];
        let seq = guest.seq[1];
        // Who never pauses is a fan.
        let pauses = milli % 2_000 >= 1_700;
        let level = if pauses { QUIET } else { guest.level };
        guest.seq[1] = seq.wrapping_add(1);
        let mut packet = vec![0; 100];
        let len = rtp::write_header(
            &mut packet,
            false,
            PayloadType(AUDIO_PT),
            SeqNo(seq),
            RtpTime(milli * 48),
            Ssrc(200 + at as u32),
            &[(LEVEL, &[level])],
        );
        packet[len..].fill(9);
        self.send(at, &packet);
    }

    fn launch(&mut self, sent: Sent) {
        for (to, datagram) in sent {
            let guest = self.guests.iter_mut().find(|it| it.peer.address == to);
            if let Some(guest) = guest {
                if guest.peer.answer(&mut self.sim, &datagram, RAW_PASSWORD) {
                    continue;
                }
                let plain = guest.peer.open(&datagram);
                let plain = plain.as_deref().unwrap_or_default();
                let asks = |part: Rtcp<'_>| matches!(part, Rtcp::Pli { .. });
                guest.keyframe |= parse_compound(plain).flatten().any(asks);
            } else if is_rtp_or_rtcp(&datagram) {
                self.viewer.link.send(self.time, datagram.len(), datagram);
            } else {
                self.viewer
                    .peer
                    .answer(&mut self.sim, &datagram, RAW_PASSWORD);
            }
        }
    }
}

/// The path carries one of two films: whoever speaks is seen.
#[test]
fn who_speaks_is_seen_first_over_a_path_that_carries_one_picture() {
    let mut meeting = Meeting::new(Conditions::steady(1_300_000), [0, 0]);
    meeting.go_on(10, None);
    for speaker in [1, 0, 1, 0] {
        meeting.go_on(6, Some(speaker));
        let films = meeting.go_on(6, Some(speaker));
        assert!(films[speaker].len() >= 500, "{}", films[speaker].len());
        assert_unbroken(&films[speaker]);
        assert!(
            films[1 - speaker].len() < 30,
            "{}",
            films[1 - speaker].len()
        );
    }
    for ssrc in SOUNDS {
        let sound = meeting.viewer.of(ssrc, 10);
        assert_unbroken(&sound);
        assert!(
            longest_wait(&sound) < MS * 250,
            "{:?}",
            longest_wait(&sound)
        );
    }
}

/// What is wanted more, a camera beside a screen, is not given up because the other one speaks.
#[test]
fn rank_comes_before_the_voice() {
    let mut meeting = Meeting::new(Conditions::steady(1_300_000), [0, 1]);
    meeting.go_on(12, None);
    let films = meeting.go_on(8, Some(1));
    assert!(films[0].len() >= 680, "{}", films[0].len());
    assert!(films[1].len() < 30, "{}", films[1].len());
}

/// A path for both: nobody loses a picture because another speaks.
#[test]
fn where_there_is_room_for_all_nothing_depends_on_who_speaks() {
    let mut meeting = Meeting::new(Conditions::steady(20_000_000), [0, 0]);
    meeting.go_on(5, None);
    for speaker in [1, 0] {
        for film in meeting.go_on(5, Some(speaker)) {
            assert!(film.len() >= 440, "{}", film.len());
            assert_unbroken(&film);
        }
    }
}
