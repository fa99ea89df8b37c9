//! What the router of a [`World`] says to its clients: it asks for what is missing and for nothing else, sees to it that a
//! hole for good is followed by a keyframe, and tells subscribers the time at which what they get was captured.

use crate::world::World;
use parlour_media::num::{RtpTime, Ssrc};
use parlour_media::rtcp::{Rtcp, SenderInfo, parse_compound};
use parlour_media::{IngressLimit, Kind};
use std::time::Duration;

/// What all clocks of publishers show when a simulation begins, in seconds of NTP.
pub(super) const NTP_AT_START: u64 = 1000;

/// A hole is given up after a second, and the keyframe that it needs then has to be earned.
const HOLE: Duration = Duration::from_secs(3);

/// What rounding makes of a time, in ticks of a publisher's clock.
const ROUNDING: i32 = 3;

/// That time as an NTP timestamp (RFC 3550 §4).
pub(super) fn ntp(at: Duration) -> u64 {
    let fraction = (u64::from(at.subsec_nanos()) << 32) / 1_000_000_000;
    ((NTP_AT_START + at.as_secs()) << 32) + fraction
}

/// The time since the beginning that it stands for.
fn since_start(ntp: u64) -> Duration {
    let nanos = (ntp & 0xffff_ffff) * 1_000_000_000;
    Duration::from_secs((ntp >> 32) - NTP_AT_START) + Duration::from_nanos(nanos >> 32)
}

impl World {
    /// Notes which publishers were told in this step to send less than they may.
    pub(super) fn note_told_less(&mut self) {
        let all = IngressLimit::default().bits_per_second;
        let less = |packet: &[u8]| {
            let mut parts = parse_compound(packet).flatten();
            parts.any(|part| matches!(part, Rtcp::Remb { bitrate, .. } if bitrate < all))
        };
        let said = self.said.iter();
        let told: Vec<usize> = said.filter(|it| less(&it.1)).map(|it| it.0).collect();
        for who in &told {
            self.participants[*who].told_less = Some(self.now);
        }
        self.count("publishers told to send less", told.len() as u64);
    }

    /// Judges all that was said in a step.
    pub(super) fn judge_said(&mut self) {
        for (who, packet) in std::mem::take(&mut self.said) {
            for part in parse_compound(&packet) {
                match part.expect("RTCP of the router") {
                    Rtcp::Nack { media, lost, .. } => {
                        let track = self.asked_of(who, media);
                        let arrivals = &self.tracks[track].arrivals;
                        for seq in lost {
                            assert!(
                                arrivals.is_missing(seq),
                                "{seq:?} of {media:?} is asked for and not missing"
                            );
                        }
                    }
                    Rtcp::Pli { media, .. } => {
                        let track = self.asked_of(who, media);
                        self.tracks[track].asked = Some(self.now);
                    }
                    Rtcp::SenderReport { ssrc, info, .. } => self.judge_clock(ssrc, &info),
                    _ => {}
                }
            }
        }
    }

    /// Whose stream that is: one that its track has now.
    fn asked_of(&self, who: usize, media: Ssrc) -> usize {
        let mut all = self.tracks.iter();
        let found =
            all.position(|it| it.owner == who && it.live && it.arrivals.ssrc() == Some(media));
        found.unwrap_or_else(|| panic!("{who} is asked for {media:?}, which nothing is"))
    }

    /// What is told of the time of a subscription is when its packets were captured.
    fn judge_clock(&mut self, of: Ssrc, info: &SenderInfo) {
        let it = &self.subscriptions[&of];
        // It may have gone over to another source right behind the report.
        let is_its = |track: &&usize| it.stopped == self.now || **track == it.track();
        let is_right = it.sources.iter().filter(is_its).any(|track| {
            let at = since_start(info.ntp).saturating_sub(self.tracks[*track].ahead);
            let is_it = |time: &RtpTime| time.distance_to(info.rtp_time).abs() <= ROUNDING;
            it.captured(self.now, at).iter().any(is_it)
        });
        assert!(is_right, "{of:?} is told a wrong time: {info:?}");
        self.count("clocks told", 1);
    }

    /// What is lost for good is followed by a keyframe, or one is asked for.
    pub(super) fn judge_holes(&mut self) {
        let World {
            tracks,
            subscriptions,
            participants,
            now,
            ..
        } = self;
        let (mut holes, now) = (0, *now);
        for (at, track) in tracks.iter_mut().enumerate() {
            let is_wanted = subscriptions.values().any(|it| it.listens_to(at));
            let is_there = track.live && participants[track.owner].connected && is_wanted;
            if !is_there || track.publisher.spec.kind == Kind::Audio {
                track.wanted_since = None;
                continue;
            }
            let since = *track.wanted_since.get_or_insert(now);
            let for_good = track
                .arrivals
                .holes()
                .find(|(_, noticed)| now - *noticed > HOLE);
            let Some((number, noticed)) = for_good.filter(|_| now - since > HOLE) else {
                continue;
            };
            holes += 1;
            assert!(
                track.asked.is_some_and(|at| at >= noticed),
                "number {number} of track {at} is lost for good, and no keyframe is asked for"
            );
        }
        self.count("holes for good", holes);
    }
}
