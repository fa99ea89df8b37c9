//! Where outgoing datagrams wait for the end of the turn, sorted into runs that the kernel takes as
//! one message each (UDP generic segmentation offload).
//!
//! Datagrams are written one behind the other into one block of memory. A run is a list of places in
//! it: datagrams to one destination, all of one size but the last, which may be shorter. The router
//! goes on peer by peer, so what one batch brings for a destination is in one piece.

use parlour_media::Path;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// Datagrams in one run. The kernel takes 64 and more; from 16 on nothing is gained and a burst
/// only gets burstier.
pub(crate) const MAX_RUN: usize = 16;

/// The longest datagram that joins a run: IPv6 and UDP headers beside it in an Ethernet frame. What
/// is longer could be refused for its size, and that refusal must not end segmentation for everyone.
pub(crate) const MAX_SEGMENT: usize = 1500 - 40 - 8;

const _: () = assert!(MAX_RUN * MAX_SEGMENT <= 65_507, "a run is one UDP message");

/// Runs that may wait; reached only by very short datagrams to very many addresses.
const MAX_RUNS: usize = 16_384;

/// How long a path is spared runs after it refused one.
const SINGLE_FOR: Duration = Duration::from_secs(60);

/// Paths that are remembered so; beyond, the one marked longest ago is tried again.
const MAX_SINGLES: usize = 1024;

/// Datagrams along one path that leave as one message.
pub(crate) struct Run {
    path: Path,
    offsets: [u32; MAX_RUN],
    count: u8,
    segment: u16,
    last: u16,
    singly: bool,
}

impl Run {
    /// Which way it goes.
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    /// How many datagrams it has.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Size of each datagram but the last.
    pub(crate) fn segment(&self) -> u16 {
        self.segment
    }

    /// Whether its datagrams are to be sent one by one, though it is a run.
    pub(crate) fn is_sent_singly(&self) -> bool {
        self.singly
    }

    /// Where a datagram begins in the arena, and its length.
    pub(crate) fn datagram(&self, index: usize) -> (usize, usize) {
        let is_last = index + 1 == self.len();
        let len = if is_last { self.last } else { self.segment };
        (self.offsets[index] as usize, usize::from(len))
    }

    fn takes(&self, len: usize) -> bool {
        self.len() < MAX_RUN
            && self.last == self.segment
            && len <= usize::from(self.segment)
            && usize::from(self.segment) <= MAX_SEGMENT
    }
}

/// The block of memory and the runs in it.
pub(crate) struct Arena {
    bytes: Vec<u8>,
    used: usize,
    open: Option<(Path, usize)>,
    runs: Vec<Run>,
    coalesce: bool,
    singles: HashMap<Path, Single, BuildHasherDefault<AddressHasher>>,
}

/// A path on which segments of some length were refused.
struct Single {
    /// From this length on nothing joins a run.
    from: u16,
    until: Instant,
}

impl Arena {
    /// An empty arena. Its memory is touched only as far as it is ever filled.
    pub(crate) fn new(capacity: usize) -> Arena {
        assert!(u32::try_from(capacity).is_ok(), "offsets are 32 bits");
        Arena {
            bytes: vec![0; capacity],
            used: 0,
            open: None,
            runs: Vec::new(),
            coalesce: true,
            singles: HashMap::default(),
        }
    }

    /// Whether a datagram of that length fits; if not, flush first.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.bytes.len() - self.used >= len && self.runs.len() < MAX_RUNS
    }

    /// Room for one datagram. It is part of the arena once [`Arena::commit`] is called.
    pub(crate) fn open(&mut self, path: Path, max_len: usize) -> &mut [u8] {
        self.open = Some((path, max_len));
        &mut self.bytes[self.used..self.used + max_len]
    }

    /// The opened datagram is done and has that many bytes. Without a length there is no datagram.
    pub(crate) fn commit(&mut self, len: usize) {
        let Some((path, max_len)) = self.open.take() else {
            return;
        };
        let Ok(short) = u16::try_from(len.min(max_len)) else {
            return;
        };
        if short == 0 {
            return;
        }
        let offset = self.used as u32;
        self.used += usize::from(short);
        // What would be refused is a run of the length of its first.
        let segment = self.runs.last().map_or(short, |run| run.segment.max(short));
        let coalesce = self.coalesce && !self.is_single(&path, segment);
        // The router goes on peer by peer: what joins a run joins the last one.
        if coalesce
            && let Some(run) = self.runs.last_mut()
            && run.path == path
            && run.takes(usize::from(short))
        {
            run.offsets[run.len()] = offset;
            run.count += 1;
            run.last = short;
            return;
        }
        let mut offsets = [0; MAX_RUN];
        offsets[0] = offset;
        self.runs.push(Run {
            path,
            offsets,
            count: 1,
            segment: short,
            last: short,
            singly: false,
        });
    }

    /// The runs, in the order in which their first datagrams were committed. Datagrams to one
    /// destination are in the order of their commits.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The memory that the runs point into.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forget everything; the memory is used again.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.open = None;
        self.runs.clear();
    }

    /// Send the datagrams of this run one by one.
    pub(crate) fn split(&mut self, run: usize) {
        self.runs[run].singly = true;
    }

    /// The path refuses segments of that length: for a while nothing that long joins a run to it.
    pub(crate) fn mark_single(&mut self, path: Path, segment: u16, now: Instant) {
        let until = now + SINGLE_FOR;
        if let Some(known) = self.singles.get_mut(&path) {
            known.from = known.from.min(segment);
            known.until = until;
            return;
        }
        if self.singles.len() >= MAX_SINGLES {
            let oldest = self.singles.iter().min_by_key(|(_, single)| single.until);
            if let Some(oldest) = oldest.map(|(path, _)| *path) {
                self.singles.remove(&oldest);
            }
        }
        let from = segment;
        self.singles.insert(path, Single { from, until });
    }

    /// Let paths be tried again whose time is over.
    pub(crate) fn forget_singles(&mut self, now: Instant) {
        self.singles.retain(|_, single| single.until > now);
    }

    /// Whether any path is marked.
    pub(crate) fn has_singles(&self) -> bool {
        !self.singles.is_empty()
    }

    fn is_single(&self, path: &Path, len: u16) -> bool {
        // Nearly always there are none, and this runs once a packet.
        self.has_singles()
            && self
                .singles
                .get(path)
                .is_some_and(|single| len >= single.from)
    }

    /// From now on every datagram is a run of its own.
    pub(crate) fn stop_coalescing(&mut self) {
        self.coalesce = false;
    }
}

/// A multiply-and-rotate hash. Only addresses that passed an authenticated check are hashed, so that
/// nobody can choose colliding ones for free, and this runs once a packet.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn peer(port: u16) -> Path {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn put(arena: &mut Arena, port: u16, byte: u8, len: usize) {
        arena.open(peer(port), 1500)[..len].fill(byte);
        arena.commit(len);
    }

    /// (port, [(first byte, length)]) of every run.
    fn shape(arena: &Arena) -> Vec<(u16, Vec<(u8, usize)>)> {
        let datagrams = |run: &Run| {
            let datagram = |index| {
                let (offset, len) = run.datagram(index);
                let bytes = &arena.bytes()[offset..offset + len];
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                (bytes[0], len)
            };
            (0..run.len()).map(datagram).collect()
        };
        let runs = arena.runs().iter();
        runs.map(|run| (run.path().remote.port(), datagrams(run)))
            .collect()
    }

    #[test]
    fn equal_datagrams_to_one_destination_are_one_run() {
        let mut arena = Arena::new(10_000);
        for byte in 1..=3 {
            put(&mut arena, 5000, byte, 100);
        }
        assert_eq!(shape(&arena), [(5000, vec![(1, 100), (2, 100), (3, 100)])]);
        assert_eq!(arena.runs()[0].segment(), 100);
    }

    #[test]
    fn a_shorter_datagram_ends_its_run_and_a_longer_one_begins_the_next() {
        let mut arena = Arena::new(10_000);
        for (byte, len) in [(1, 100), (2, 90), (3, 90), (4, 95), (5, 95)] {
            put(&mut arena, 5000, byte, len);
        }
        assert_eq!(
            shape(&arena),
            [
                (5000, vec![(1, 100), (2, 90)]),
                (5000, vec![(3, 90)]),
                (5000, vec![(4, 95), (5, 95)])
            ]
        );
    }

    #[test]
    fn what_goes_elsewhere_ends_a_run() {
        let mut arena = Arena::new(100_000);
        for (port, byte) in [(5000, 1), (5000, 2), (5001, 3), (5001, 4), (5000, 5)] {
            put(&mut arena, port, byte, 200);
        }
        let expected = [
            (5000, vec![(1, 200), (2, 200)]),
            (5001, vec![(3, 200), (4, 200)]),
            (5000, vec![(5, 200)]),
        ];
        assert_eq!(shape(&arena), expected);
    }

    #[test]
    fn a_run_has_at_most_sixteen_datagrams() {
        let mut arena = Arena::new(100_000);
        for byte in 0..40 {
            put(&mut arena, 5000, byte, 50);
        }
        let lens: Vec<_> = arena.runs().iter().map(Run::len).collect();
        assert_eq!(lens, [16, 16, 8]);
    }

    #[test]
    fn a_datagram_too_long_for_any_ethernet_travels_alone() {
        let mut arena = Arena::new(100_000);
        for byte in 0..3 {
            put(&mut arena, 5000, byte, MAX_SEGMENT + 1);
        }
        assert_eq!(arena.runs().len(), 3);
    }

    #[test]
    fn without_coalescing_every_datagram_is_a_run() {
        let mut arena = Arena::new(10_000);
        arena.stop_coalescing();
        put(&mut arena, 5000, 1, 100);
        put(&mut arena, 5000, 2, 100);
        assert_eq!(
            shape(&arena),
            [(5000, vec![(1, 100)]), (5000, vec![(2, 100)])]
        );
    }

    #[test]
    fn what_is_not_committed_or_empty_is_not_sent() {
        let mut arena = Arena::new(10_000);
        arena.open(peer(5000), 1500)[0] = 9;
        put(&mut arena, 5001, 1, 10);
        arena.commit(10);
        put(&mut arena, 5002, 1, 0);
        assert_eq!(shape(&arena), [(5001, vec![(1, 10)])]);
        arena.clear();
        assert!(arena.is_empty());
    }

    #[test]
    fn room_is_what_is_left() {
        let mut arena = Arena::new(3000);
        assert!(arena.has_room(3000));
        put(&mut arena, 5000, 1, 1200);
        assert!(arena.has_room(1800));
        assert!(!arena.has_room(1801));
        arena.clear();
        assert!(arena.has_room(3000));
    }

    #[test]
    fn a_commit_never_claims_more_than_was_opened() {
        let mut arena = Arena::new(3000);
        arena.open(peer(5000), 20).fill(7);
        arena.commit(4000);
        assert_eq!(shape(&arena), [(5000, vec![(7, 20)])]);
    }
}
