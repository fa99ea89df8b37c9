//! Which packets reach the router, and what it must make of each: the rules of SRTP's replay window and of a track's
//! reception (RFC 3711 §3.3.2, RFC 3550 A.1), written down a second time and more simply, with sets that forget nothing.

use parlour_media::DropReason::{self, Replayed, RtxUseless, SequenceJump, TooOld, UnknownStream};
use parlour_media::Ssrc;
use parlour_media::num::SeqNo;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// How far SRTP's replay window of the router reaches back, and its reception's.
const REPLAY_WINDOW: u64 = 1024;
const RECEPTION_WINDOW: i64 = 1024;

/// More than this ahead is a jump; this much behind, an old packet cannot be told from one.
const MAX_DROPOUT: i64 = 3000;
const STRAGGLERS: i64 = 2 * RECEPTION_WINDOW;

/// A stream that was replaced stays so while its successor is not silent for longer than this.
const SILENCE: Duration = Duration::from_secs(1);

/// Replaced streams that are remembered.
const MAX_RETIRED: usize = 4;

/// A packet that a track took in: in which of the track's epochs, and which of all that was published. In a later epoch
/// the same packet may come a second time.
pub type Taken = (u32, u64);

/// Which indices of one sender were opened.
#[derive(Default)]
pub struct Opened(HashMap<Ssrc, (u64, HashSet<u64>)>);

impl Opened {
    /// A genuine packet of that index comes: whether it is opened, or why it is not.
    pub fn open(&mut self, ssrc: Ssrc, index: u64) -> Result<(), DropReason> {
        let (newest, seen) = self.0.entry(ssrc).or_default();
        if !seen.is_empty() && *newest >= index + REPLAY_WINDOW {
            return Err(TooOld);
        }
        if !seen.insert(index) {
            return Err(Replayed);
        }
        *newest = index.max(*newest);
        Ok(())
    }

    /// The newest index that was opened of a stream.
    pub fn newest(&self, ssrc: Ssrc) -> Option<u64> {
        self.0.get(&ssrc).map(|(newest, _)| *newest)
    }
}

/// Where a track stands: the stream it has, and the numbers of it that came.
#[derive(Default)]
pub struct Arrivals {
    /// All that was taken in, ever.
    pub taken: HashSet<Taken>,
    /// Counts the number spaces: another SSRC, or the same one after a jump.
    pub epoch: u32,
    stream: Option<Stream>,
    retired: Vec<Ssrc>,
}

struct Stream {
    ssrc: Ssrc,
    base: u64,
    newest: u64,
    /// Numbers that came in this epoch.
    came: HashSet<u64>,
    /// Numbers that are missing of it, and when that was noticed.
    holes: BTreeMap<u64, Instant>,
    /// The number of the newest packet with which a keyframe begins.
    keyframe: Option<u64>,
    /// The number that would confirm a jump.
    jump: Option<u64>,
    last: Instant,
}

/// A packet of a track, as it was published: its place among all, and where it was in its stream.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// The place.
    pub id: u64,
    /// The SSRC of the media.
    pub ssrc: Ssrc,
    /// The sequence number, unwrapped.
    pub number: u64,
}

impl Arrivals {
    /// A packet of the media itself comes, opened: how it is taken, or why it is dropped.
    pub fn direct(&mut self, now: Instant, packet: Sender) -> Result<Taken, DropReason> {
        let Sender { ssrc, number, .. } = packet;
        let Some(stream) = self.stream.as_mut().filter(|it| it.ssrc == ssrc) else {
            return self.switch(now, packet);
        };
        let ahead = number as i64 - stream.newest as i64;
        if !(-RECEPTION_WINDOW..=MAX_DROPOUT).contains(&ahead) {
            if stream.jump != Some(number) {
                if (-STRAGGLERS + 1..0).contains(&ahead) {
                    return Err(TooOld);
                }
                stream.jump = Some(number + 1);
                return Err(SequenceJump);
            }
            self.begin(now, packet);
            return Ok(self.note(now, packet));
        }
        stream.jump = None;
        if ahead <= -RECEPTION_WINDOW || number < stream.base {
            return Err(TooOld);
        }
        if stream.came.contains(&number) {
            return Err(Replayed);
        }
        stream
            .holes
            .extend((stream.newest + 1..number).map(|it| (it, now)));
        stream.newest = number.max(stream.newest);
        Ok(self.note(now, packet))
    }

    /// The same for a retransmission of `packet`. It fills a hole of the stream there is, and moves nothing.
    pub fn repair(&mut self, now: Instant, packet: Sender) -> Result<Taken, DropReason> {
        let stream = self.stream.as_ref().ok_or(RtxUseless)?;
        let age = stream.newest as i64 - packet.number as i64;
        let is_missing = stream.ssrc == packet.ssrc
            && (0..RECEPTION_WINDOW).contains(&age)
            && packet.number >= stream.base
            && !stream.came.contains(&packet.number);
        match is_missing {
            true => Ok(self.note(now, packet)),
            false => Err(RtxUseless),
        }
    }

    /// The SSRC that it has.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.stream.as_ref().map(|it| it.ssrc)
    }

    /// Whether the packet with that number, the nearest to the newest, is missing.
    pub fn is_missing(&self, seq: SeqNo) -> bool {
        self.stream.as_ref().is_some_and(|it| {
            let ahead = i64::from(SeqNo(it.newest as u16).distance_to(seq));
            let number = it.newest.checked_add_signed(ahead);
            number.is_some_and(|number| it.holes.contains_key(&number))
        })
    }

    /// A keyframe begins with that packet, which came.
    pub fn on_keyframe(&mut self, packet: Sender) {
        let stream = self.stream.as_mut().filter(|it| it.ssrc == packet.ssrc);
        if let Some(stream) = stream {
            stream.keyframe = stream.keyframe.max(Some(packet.number));
        }
    }

    /// What is missing behind the newest keyframe, the oldest first, and when that was noticed.
    pub fn holes(&self) -> impl Iterator<Item = (u64, Instant)> {
        let stream = self.stream.iter();
        stream.flat_map(|it| {
            let behind = it.holes.range(it.keyframe.map_or(0, |number| number + 1)..);
            behind.map(|(number, at)| (*number, *at))
        })
    }

    /// Another SSRC: the track goes on under it, unless it is one that was replaced.
    fn switch(&mut self, now: Instant, packet: Sender) -> Result<Taken, DropReason> {
        if let Some(stream) = &self.stream {
            let is_silent = now.saturating_duration_since(stream.last) > SILENCE;
            if self.retired.contains(&packet.ssrc) && !is_silent {
                return Err(UnknownStream);
            }
            let replaced = stream.ssrc;
            self.retired.retain(|old| *old != packet.ssrc);
            if self.retired.len() >= MAX_RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(replaced);
        }
        self.begin(now, packet);
        Ok(self.note(now, packet))
    }

    fn begin(&mut self, now: Instant, packet: Sender) {
        self.epoch += 1;
        self.stream = Some(Stream {
            ssrc: packet.ssrc,
            base: packet.number,
            newest: packet.number,
            came: HashSet::new(),
            holes: BTreeMap::new(),
            keyframe: None,
            jump: None,
            last: now,
        });
    }

    fn note(&mut self, now: Instant, packet: Sender) -> Taken {
        let stream = self.stream.as_mut().expect("it has begun");
        stream.last = now;
        stream.came.insert(packet.number);
        stream.holes.remove(&packet.number);
        let taken = (self.epoch, packet.id);
        assert!(
            self.taken.insert(taken),
            "{packet:?} came twice in one epoch"
        );
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, number: u64) -> Sender {
        Sender {
            id: number,
            ssrc: Ssrc(ssrc),
            number,
        }
    }

    #[test]
    fn an_index_is_opened_once_and_within_the_window() {
        let mut opened = Opened::default();
        let mut open = |index| opened.open(Ssrc(1), index);
        assert_eq!(open(70_000), Ok(()));
        assert_eq!(open(70_000), Err(Replayed));
        assert_eq!(open(70_000 - 1023), Ok(()));
        assert_eq!(open(70_000 - 1024), Err(TooOld));
        assert_eq!(opened.open(Ssrc(2), 5), Ok(()));
    }

    #[test]
    fn a_second_packet_in_a_row_confirms_a_jump_and_one_of_before_denies_it() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        let mut come = |number| arrivals.direct(now, packet(1, number));
        assert_eq!(come(100), Ok((1, 100)));
        assert_eq!(come(5000), Err(SequenceJump));
        assert_eq!(come(101), Ok((1, 101)));
        assert_eq!(come(5001), Err(SequenceJump));
        assert_eq!(come(5002), Ok((2, 5002)));
        assert_eq!(come(5001), Err(TooOld), "before the beginning");
        assert_eq!(come(5002), Err(Replayed));
        assert_eq!(come(5002 - 2000), Err(TooOld));
        let repair = |arrivals: &mut Arrivals, number| arrivals.repair(now, packet(1, number));
        assert_eq!(arrivals.direct(now, packet(1, 5005)), Ok((2, 5005)));
        assert_eq!(repair(&mut arrivals, 5003), Ok((2, 5003)));
        assert_eq!(repair(&mut arrivals, 5003), Err(RtxUseless));
        assert_eq!(repair(&mut arrivals, 5006), Err(RtxUseless));
    }

    #[test]
    fn a_replaced_stream_comes_back_only_when_its_successor_is_silent() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(arrivals.direct(now, packet(1, 10)), Ok((1, 10)));
        assert_eq!(arrivals.direct(now, packet(3, 20)), Ok((2, 20)));
        assert_eq!(arrivals.direct(now, packet(1, 11)), Err(UnknownStream));
        assert_eq!(arrivals.repair(now, packet(1, 10)), Err(RtxUseless));
        let later = now + SILENCE + Duration::from_millis(1);
        assert_eq!(arrivals.direct(later, packet(1, 12)), Ok((3, 12)));
    }
}
