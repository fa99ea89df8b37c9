//! What the router of a [`World`] may hold in memory: to the byte when nobody is there, and while a call runs no more
//! than what each thing in it may take, whatever the network does. Keys are not seen (see [`memory`]).

use crate::memory::{self, metered};
use crate::subscription::Subscription;
use crate::world::{Track, World};
use parlour_media::Kind;
use parlour_media::router::Tables;

/// Packets that are kept of a video track, and of a subscription what they were: the router's `SLOTS`.
const SLOTS: usize = 512;

/// Of a video track: the bytes that are kept, what is noted of each packet, and 256 missing ones.
const VIDEO_TRACK: usize = (512 << 10) + SLOTS * NOTED + MISSING + SMALL;

/// Of an audio track the same, in fewer bytes.
const AUDIO_TRACK: usize = (32 << 10) + SLOTS * NOTED + MISSING + SMALL;

/// What is missing of a track, and when it was asked for.
const MISSING: usize = 256 * 80;

/// What is noted of a packet that is kept, and its place by its number.
const NOTED: usize = 56 + 8;

/// Of a video subscription: which packet each of its numbers was, and with which numbers of its picture; 256
/// retransmissions, and 128 pictures.
const VIDEO_CONSUMER: usize = SLOTS * 4 + 256 * 24 + 128 * 4 + SLOTS * 4 + AUDIO_CONSUMER;

/// Without RTX also the digests of what may be sent again, and under which transport-wide number.
const REPEATABLE: usize = SLOTS * 24;

/// Of an audio subscription: which packet each of its numbers was, and in three tables what is noted of its SSRCs; 64
/// digests.
const AUDIO_CONSUMER: usize = SLOTS * 4 + 2 * 400 + 64 * 24 + SMALL;

/// Of a transport: 512 arrivals to report, 20 addresses of its peer, 48 checks of these, 64 replay windows of 1,024
/// packets, and of what is sent the last 2,048 packets with an estimate.
const TRANSPORT: usize = 512 * 8 + 20 * 640 + 64 * 80 + 64 * 168 + 2048 * 8 + ESTIMATE;

/// What an estimate is made of.
const ESTIMATE: usize = 4096;

/// Names, short lists, the places that lists have in reserve.
const SMALL: usize = 512;

/// What was there at a time, at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Most {
    transports: usize,
    tracks: usize,
    consumers: usize,
}

impl World {
    /// What the router holds more than a new one, besides the tables, whose places stay when nothing is in them.
    fn held(&mut self) -> (isize, Tables) {
        let tables = metered(|| self.router.shrink_tables());
        let held = memory::held() - self.held_by_new - tables.bytes as isize;
        (held, tables)
    }

    /// Something was added.
    pub(super) fn note_most(&mut self) {
        let transports = self.participants.iter().filter(|it| it.here).count();
        let tracks = self.tracks.iter().filter(|it| it.live).count();
        let most = &mut self.most;
        most.transports = most.transports.max(transports);
        most.tracks = most.tracks.max(tracks);
        most.consumers = most.consumers.max(self.subscriptions.len());
    }

    /// The most that the router may hold now.
    fn memory_bound(&self) -> usize {
        let is_video = |track: &Track| track.publisher.spec.kind == Kind::Video;
        let of_consumer = |it: &Subscription| match is_video(&self.tracks[it.track()]) {
            false => AUDIO_CONSUMER,
            true if it.spec.rtx_ssrc.is_some() => VIDEO_CONSUMER,
            true => VIDEO_CONSUMER + REPEATABLE,
        };
        let of_track = |it: &Track| {
            if is_video(it) {
                VIDEO_TRACK
            } else {
                AUDIO_TRACK
            }
        };
        let live = self.tracks.iter().filter(|it| it.live);
        let here = self.participants.iter().filter(|it| it.here);
        let consumers = self.subscriptions.values().map(of_consumer).sum::<usize>();
        let tracks = live.map(of_track).sum::<usize>();
        consumers + tracks + here.count() * TRANSPORT
    }

    /// Nobody is there: the router holds what it held when it was new, and its tables have as many places as there were
    /// things at a time.
    pub(super) fn is_empty_as_new(&mut self) {
        let (held, tables) = self.held();
        let Most {
            transports,
            tracks,
            consumers,
        } = self.most;
        assert_eq!(
            (tables.transports, tables.tracks, tables.consumers),
            (transports, tracks, consumers),
            "places for transports, tracks and consumers, and how many there were of each at a time"
        );
        assert_eq!(
            held, 0,
            "bytes that an empty router holds and a new one does not"
        );
    }

    /// While somebody is there: the router holds no more than it may.
    pub(super) fn check_memory(&mut self) {
        if !self.participants.iter().any(|it| it.here) {
            return;
        }
        let (held, bound) = (self.held().0, self.memory_bound());
        assert!(
            held <= bound as isize,
            "the router holds {held} bytes, and {bound} is the most for {} subscriptions",
            self.subscriptions.len()
        );
    }
}
