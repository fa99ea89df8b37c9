//! One incoming track, whatever streams carry it one after the other: what is kept of it, on which time line it is, and
//! whether a keyframe is wanted. It has a stream while a peer of this router sends it; one that another shard or node
//! passes on has none, and is kept and asked for all the same, which is why the cache is here.

use crate::ingress::cache::{AUDIO_BYTES, Meta, PacketCache, VIDEO_BYTES};
use crate::ingress::demand::Limit;
use crate::ingress::keyframe_requests::{KeyframeRequests, Need};
use crate::ingress::meter::Meter;
use crate::ingress::repair::Timing;
use crate::ingress::smoothness::Smoothness;
use crate::ingress::spec::ProducerSpec;
use crate::ingress::speech::{Level, Speech, Watch};
use crate::ingress::stream::Stream;
use crate::slab::{ConsumerKey, TransportKey};
use crate::wire::codecs::Kind;
use crate::wire::dependency_descriptor::Structure;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo, Ssrc};
use crate::wire::rtp::RtpView;
use std::time::{Duration, Instant};

/// Streams remembered as replaced, so that their stragglers do not bring them back.
const MAX_RETIRED: usize = 4;

/// How long after its neighbours a packet is of use. A picture that is not whole stops the film, and the keyframe that would
/// go on with it takes a round trip and many packets. Sound is played a little after it came, whatever is missing: what
/// comes later than that was made up already. That leaves one request at a round trip of 140 ms and two at 60 ms.
const VIDEO_USEFUL_FOR: Duration = Duration::from_secs(1);
const AUDIO_USEFUL_FOR: Duration = Duration::from_millis(160);

/// What a datagram has besides the payload: headers with extensions, and the tag.
const OVERHEAD: usize = 40;

/// Without media for this long, a track pauses; for so long, nothing more of it is expected while another is sent.
const PAUSE: Duration = Duration::from_millis(500);
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// Whether a track is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Its producer is gone.
    Gone,
    /// Nothing of it ever came.
    Unstarted,
    /// Something came, and nothing since then.
    Silent {
        /// Whether that is so long ago that nothing more is expected.
        long: bool,
    },
    /// Something came a moment ago.
    Sent {
        /// Whether it came for some time without a pause.
        steadily: bool,
    },
}

/// The time line of the publisher: the pair of its last sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderClock {
    pub(crate) ntp: u64,
    pub(crate) rtp: RtpTime,
    pub(crate) at: Instant,
}

/// An incoming track.
pub(crate) struct Track {
    pub(crate) spec: ProducerSpec,
    pub(crate) transport: TransportKey,
    pub(crate) consumers: Vec<ConsumerKey>,
    /// Where it comes from, while that is known.
    pub(crate) stream: Option<Stream>,
    retired: Vec<Ssrc>,
    /// Counts the streams this track has been: another SSRC, or the same one after a jump.
    pub(crate) epoch: u32,
    /// What came while it had consumers.
    pub(crate) cache: Option<PacketCache>,
    /// The first arrival of this turn, while it waits in the router's list of tracks with something to forward.
    pub(crate) fed_from: Option<u64>,
    /// The longest payload of this turn.
    pub(crate) longest: u16,
    pub(crate) clock: Option<SenderClock>,
    pub(crate) started: bool,
    /// Since when its media comes without a pause, and when it came last.
    sent: Option<(Instant, Instant)>,
    requests: KeyframeRequests,
    last_keyframe: Option<RtpTime>,
    /// The number of the newest packet with which a keyframe begins.
    keyframe_at: Option<ExtSeqNo>,
    meter: Meter,
    /// What its publisher is asked to send of it at most.
    pub(crate) limit: Option<Limit>,
    speech: Speech,
    /// Its frames, if it is a video.
    pub(crate) smoothness: Smoothness,
    /// Made while it is to be told how loud it is.
    pub(crate) watch: Option<Watch>,
    /// What the dependency descriptors of its packets refer to. Made for the first of them.
    pub(super) structure: Option<Box<Structure>>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) repaired: u64,
    pub(crate) nacks_sent: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) keyframes: u64,
}

impl Track {
    pub(crate) fn new(spec: ProducerSpec, transport: TransportKey) -> Self {
        let stream = spec
            .ssrc
            .map(|ssrc| Stream::new(ssrc, spec.kind.clock_rate()));
        Track {
            transport,
            consumers: Vec::new(),
            stream,
            retired: Vec::new(),
            epoch: 0,
            cache: None,
            fed_from: None,
            longest: 0,
            clock: None,
            started: false,
            sent: None,
            requests: KeyframeRequests::default(),
            last_keyframe: None,
            keyframe_at: None,
            meter: Meter::default(),
            limit: None,
            speech: Speech::default(),
            smoothness: Smoothness::default(),
            watch: None,
            structure: None,
            packets: 0,
            bytes: 0,
            repaired: 0,
            nacks_sent: 0,
            keyframe_requests: 0,
            keyframes: 0,
            spec,
        }
    }

    pub(crate) fn is_video(&self) -> bool {
        self.spec.kind == Kind::Video
    }

    /// The SSRC it has now.
    pub(crate) fn ssrc(&self) -> Option<Ssrc> {
        self.stream.as_ref().map(|stream| stream.ssrc)
    }

    /// Whether a stream with a new SSRC may take this track over.
    pub(crate) fn accepts_stream(&self, now: Instant, ssrc: Ssrc) -> bool {
        let is_silent = |stream: &Stream| stream.is_silent(now);
        !self.retired.contains(&ssrc) || self.stream.as_ref().is_none_or(is_silent)
    }

    /// The track goes on under another SSRC.
    pub(crate) fn switch_stream(&mut self, ssrc: Ssrc) {
        self.retired.retain(|old| *old != ssrc);
        let stream = Stream::new(ssrc, self.spec.kind.clock_rate());
        if let Some(old) = self.stream.replace(stream) {
            if self.retired.len() >= MAX_RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(old.ssrc);
        }
        self.restart();
    }

    /// Nothing that was before belongs to what comes now.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        self.clock = None;
        self.keyframe_at = None;
        self.smoothness.stop();
        if let Some(stream) = &mut self.stream {
            stream.forget_missing();
        }
    }

    /// A packet of its stream was accepted, of that temporal layer. `gap` numbers before it are missing.
    pub(crate) fn on_accepted(
        &mut self,
        now: Instant,
        ext: ExtSeqNo,
        gap: u64,
        layer: u8,
        payload_len: usize,
    ) {
        self.packets += 1;
        self.bytes += payload_len as u64;
        self.meter.count(now, layer, payload_len + OVERHEAD);
        let Some(stream) = &mut self.stream else {
            return;
        };
        stream.on_accepted(now);
        if self.spec.nack && !stream.repair(now, ext, gap) {
            self.want_keyframe(Need::Repair);
        }
    }

    /// Takes the level of the sound from a packet that tells it. Returns what is to be told of it, if anything is.
    pub(crate) fn listen(&mut self, now: Instant, packet: &RtpView<'_>) -> Option<Level> {
        let level = packet.extension(self.spec.level_extension?)?;
        self.speech.on_level(now, level);
        self.watch.as_mut()?.take(now, &self.speech)
    }

    /// Whether somebody speaks on it.
    pub(crate) fn speaks(&self, now: Instant) -> bool {
        self.speech.speaks(now)
    }

    /// What it costs to be sent on with the temporal layers up to that one, in bits a second; none before that is known.
    pub(crate) fn bits_per_second(&mut self, now: Instant, up_to: u8) -> Option<u64> {
        self.meter.bits_per_second(now, up_to)
    }

    /// The highest temporal layer of it.
    pub(crate) fn highest_layer(&self) -> u8 {
        self.meter.highest()
    }

    /// When packets are to be asked for again.
    pub(crate) fn nack_due(&self) -> Option<Instant> {
        self.stream.as_ref()?.nack_due()
    }

    /// The numbers to ask for now, oldest first, into `numbers`; `may_ask` is asked for each.
    pub(crate) fn take_nacks(
        &mut self,
        now: Instant,
        timing: Timing,
        may_ask: impl FnMut() -> bool,
        numbers: &mut Vec<SeqNo>,
    ) {
        numbers.clear();
        let useful_for = match self.spec.kind {
            Kind::Video => VIDEO_USEFUL_FOR,
            Kind::Audio => AUDIO_USEFUL_FOR,
        };
        let Some(stream) = &mut self.stream else {
            return;
        };
        let given_up = stream.take_nacks(now, timing, useful_for, may_ask, numbers);
        self.nacks_sent += numbers.len() as u64;
        // What never comes leaves decoders with a broken picture until the next keyframe, if none has begun since.
        if given_up.is_some_and(|lost| self.keyframe_at.is_none_or(|begun| lost > begun)) {
            self.want_keyframe(Need::Repair);
        }
    }

    /// A subscriber needs a keyframe.
    pub(crate) fn want_keyframe(&mut self, need: Need) {
        if self.spec.pli && self.is_video() {
            self.requests.want(need);
        }
    }

    /// A keyframe has begun to arrive. One of H.264 has several packets that say so.
    pub(crate) fn on_keyframe(&mut self, ext: ExtSeqNo, timestamp: RtpTime) {
        self.keyframe_at = self.keyframe_at.max(Some(ext));
        if self.last_keyframe.replace(timestamp) != Some(timestamp) {
            self.keyframes += 1;
        }
        self.requests.on_keyframe();
    }

    /// When a keyframe is to be asked for, given the throttle; none when nobody needs one or none can be asked.
    pub(crate) fn keyframe_due(&self, now: Instant) -> Option<Instant> {
        if self.stream.is_none() || self.consumers.is_empty() {
            return None;
        }
        self.requests.due(now)
    }

    /// Whether to ask for a keyframe now; true counts as asked. It stays wanted until one comes.
    pub(crate) fn take_keyframe_request(&mut self, now: Instant) -> bool {
        let asked = self.keyframe_due(now).is_some() && self.requests.take(now);
        self.keyframe_requests += u64::from(asked);
        asked
    }

    /// Media of it came.
    pub(crate) fn on_media(&mut self, now: Instant, timestamp: RtpTime) {
        if self.is_video() {
            self.smoothness.on_packet(now, timestamp);
        }
        let since = match self.sent {
            Some((since, last)) if now.saturating_duration_since(last) < PAUSE => since,
            _ => now,
        };
        self.sent = Some((since, now));
    }

    /// Since when its media comes without a pause.
    pub(crate) fn sent_since(&self) -> Option<Instant> {
        self.sent.map(|(since, _)| since)
    }

    /// Whether it is sent.
    pub(crate) fn presence(&self, now: Instant) -> Presence {
        let Some((since, last)) = self.sent else {
            return Presence::Unstarted;
        };
        let silent = now.saturating_duration_since(last);
        match silent < PAUSE {
            true => Presence::Sent {
                steadily: now.saturating_duration_since(since) >= PAUSE,
            },
            false => Presence::Silent {
                long: silent >= LONG_PAUSE,
            },
        }
    }

    /// Keeps a packet to be forwarded and repaired; false for one that is too large.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        meta: Meta,
        descriptor: &[u8],
        payload: &[u8],
    ) -> bool {
        let bytes = match self.spec.kind {
            Kind::Audio => AUDIO_BYTES,
            Kind::Video => VIDEO_BYTES,
        };
        let cache = self.cache.get_or_insert_with(|| PacketCache::new(bytes));
        cache.put(now, meta, descriptor, payload)
    }

    /// The arrival that comes next.
    pub(crate) fn next_arrival(&self) -> u64 {
        self.cache.as_ref().map_or(0, PacketCache::end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ProducerId, TransportId};
    use crate::ingress::repair::LEAST_TOLERANCE;
    use crate::ingress::stream::SILENCE;
    use crate::slab::Slab;
    use crate::wire::codecs::Codec;
    use crate::wire::num::PayloadType;
    use std::time::Duration;

    fn track(kind: Kind) -> Track {
        let spec = ProducerSpec {
            producer: ProducerId(1),
            transport: TransportId(1),
            kind,
            codec: match kind {
                Kind::Video => Codec::Vp8,
                Kind::Audio => Codec::Opus,
            },
            mid: "0".into(),
            rid: String::new(),
            payload_type: PayloadType(96),
            red_payload_type: None,
            rtx_payload_type: None,
            ssrc: Some(Ssrc(1)),
            rtx_ssrc: None,
            mid_extension: None,
            rid_extension: None,
            repaired_rid_extension: None,
            twcc_extension: None,
            dependency_descriptor_extension: None,
            level_extension: None,
            nack: true,
            pli: true,
            remb: false,
        };
        let mut track = Track::new(spec, Slab::new().insert(()));
        track.consumers.push(Slab::new().insert(()));
        track
    }

    /// Asks for what is missing until nothing is; returns when that is, and how many were asked for.
    fn ask_to_the_end(track: &mut Track, mut now: Instant) -> (Instant, usize) {
        let (mut numbers, mut asked) = (Vec::new(), 0);
        while let Some(due) = track.nack_due() {
            now = due;
            track.take_nacks(now, Timing::default(), || true, &mut numbers);
            asked += numbers.len();
        }
        (now, asked)
    }

    #[test]
    fn missing_packets_are_asked_for_after_a_moment_and_not_forever() {
        let (mut track, start) = (track(Kind::Video), Instant::now());
        track.on_accepted(start, ExtSeqNo(100), 0, 0, 10);
        track.on_accepted(start, ExtSeqNo(104), 3, 0, 10);
        let mut numbers = Vec::new();
        track.take_nacks(start, Timing::default(), || true, &mut numbers);
        assert!(numbers.is_empty(), "reordering is given a moment");
        let now = start + LEAST_TOLERANCE;
        track.on_accepted(now, ExtSeqNo(102), 0, 0, 10);
        track.take_nacks(now, Timing::default(), || true, &mut numbers);
        assert_eq!(numbers, [SeqNo(101), SeqNo(103)]);
        let (now, asked) = ask_to_the_end(&mut track, now);
        assert_eq!(asked, 10);
        assert!(now - start < VIDEO_USEFUL_FOR * 2);
        assert!(
            track.keyframe_due(now).is_some(),
            "a hole for good needs a keyframe"
        );
    }

    #[test]
    fn a_hole_before_a_keyframe_needs_no_other_one() {
        for (begun, needed) in [(103, true), (105, false)] {
            let (mut track, start) = (track(Kind::Video), Instant::now());
            track.on_accepted(start, ExtSeqNo(100), 0, 0, 10);
            track.on_accepted(start, ExtSeqNo(105), 1, 0, 10);
            track.on_keyframe(ExtSeqNo(begun), RtpTime(1));
            let (now, _) = ask_to_the_end(&mut track, start);
            assert_eq!(track.keyframe_due(now).is_some(), needed, "{begun}");
        }
    }

    #[test]
    fn sound_is_asked_for_as_long_as_it_can_be_played() {
        for (round_trip, expected) in [(20, 3), (60, 2), (140, 1), (155, 0)] {
            let (mut track, start) = (track(Kind::Audio), Instant::now());
            let round_trip = Duration::from_millis(round_trip);
            let timing = Timing {
                round_trip,
                repeat_after: round_trip + Duration::from_millis(20),
            };
            track.on_accepted(start, ExtSeqNo(100), 0, 0, 10);
            track.on_accepted(start, ExtSeqNo(102), 1, 0, 10);
            let (mut numbers, mut asked) = (Vec::new(), 0);
            while let Some(now) = track.nack_due() {
                track.take_nacks(now, timing, || true, &mut numbers);
                asked += numbers.len();
            }
            assert_eq!(asked, expected, "{round_trip:?}");
            assert_eq!(track.keyframe_due(start), None);
        }
    }

    #[test]
    fn a_large_hole_asks_for_a_keyframe_instead() {
        let (mut track, start) = (track(Kind::Video), Instant::now());
        track.on_accepted(start, ExtSeqNo(1000), 0, 0, 10);
        track.on_accepted(start, ExtSeqNo(2000), 999, 0, 10);
        assert_eq!(track.nack_due(), None);
        assert_eq!(track.keyframe_due(start), Some(start));
    }

    #[test]
    fn a_replaced_stream_does_not_come_back_while_its_successor_is_alive() {
        let (mut track, start) = (track(Kind::Video), Instant::now());
        track.switch_stream(Ssrc(2));
        track.on_accepted(start, ExtSeqNo(1), 0, 0, 10);
        assert!(!track.accepts_stream(start, Ssrc(1)));
        assert!(track.accepts_stream(start, Ssrc(3)));
        assert!(track.accepts_stream(start + SILENCE * 2, Ssrc(1)));
    }
}
