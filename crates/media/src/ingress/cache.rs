//! The last packets of one incoming track, in the order in which they came: what is to be forwarded, and what may be
//! asked for again. A subscriber that is behind is a place in this order, and what waits for it is kept here once for
//! all of them.

use crate::wire::layers::Layers;
use crate::wire::num::{ExtSeqNo, RtpTime};
use std::time::{Duration, Instant};

/// The largest payload that is kept: the UDP payload of an Ethernet frame over IPv4.
pub const MAX_PAYLOAD: usize = 1472;

/// Packets that are kept of a track: more than a second of video of 4 Mbit/s, ten of sound. A power of two.
pub(crate) const SLOTS: usize = 512;

/// Bytes that are kept of a video track. It is memory of the publisher's, so that a hundred subscribers cost no more.
pub(crate) const VIDEO_BYTES: usize = 512 << 10;

/// Bytes that are kept of an audio track: two seconds at 128 kbit/s.
pub(crate) const AUDIO_BYTES: usize = 32 << 10;

/// A packet older than this is not sent again: no receiver waits for it any more.
pub const MAX_AGE: Duration = Duration::from_secs(2);

/// What is known of a packet besides its payload. How it came does not matter any more: it has no padding, no wrapping of
/// RFC 4588, and of its extensions the dependency descriptor alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Which of the track's number spaces its number is of.
    pub epoch: u32,
    pub ext: ExtSeqNo,
    pub timestamp: RtpTime,
    pub marker: bool,
    /// Whether a keyframe begins with it.
    pub keyframe: bool,
    pub layers: Layers,
    /// How much of the payload is copies of what was before (RFC 2198), with their headers; 0: it is the codec's alone.
    pub copies: u16,
    /// When it came to the socket, in microseconds since the router began.
    pub came_us: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    meta: Meta,
    at: Instant,
    /// Where its payload begins, counted over all bytes that were ever written, and where that is.
    start: u64,
    offset: u32,
    len: u16,
    /// How much of that is the dependency descriptor, in front of the payload.
    descriptor: u8,
}

/// A packet that is still here.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// Its place in the order in which they came.
    pub arrival: u64,
    pub meta: Meta,
    pub at: Instant,
    /// Its dependency descriptor, as it came; empty when it had none.
    pub descriptor: &'a [u8],
    pub payload: &'a [u8],
}

/// Two rings, of packets and of bytes: the one that is full first decides how many packets are kept. Nothing is
/// allocated after it is made.
pub struct PacketCache {
    entries: Vec<Option<Entry>>,
    /// Which arrival has a number, in the slot of the number.
    places: Vec<u64>,
    bytes: Vec<u8>,
    arrivals: u64,
    written: u64,
}

impl PacketCache {
    /// A cache of the last packets that fit into so many bytes, of one packet at least.
    pub fn new(bytes: usize) -> Self {
        PacketCache {
            entries: vec![None; SLOTS],
            places: vec![0; SLOTS],
            bytes: vec![0; bytes.max(MAX_PAYLOAD)],
            arrivals: 0,
            written: 0,
        }
    }

    /// How many packets ever came: one above the last arrival.
    pub fn end(&self) -> u64 {
        self.arrivals
    }

    /// Keeps a packet as the next arrival; false for one that is too large to be kept, which is no arrival.
    pub fn put(&mut self, now: Instant, meta: Meta, descriptor: &[u8], payload: &[u8]) -> bool {
        let len = descriptor.len() + payload.len();
        let Ok(descriptor_len) = u8::try_from(descriptor.len()) else {
            return false;
        };
        if len > MAX_PAYLOAD {
            return false;
        }
        let capacity = self.bytes.len();
        let mut offset = (self.written % capacity as u64) as usize;
        if offset + len > capacity {
            // A payload is in one piece: the rest of the block is left out.
            self.written += (capacity - offset) as u64;
            offset = 0;
        }
        let place = &mut self.bytes[offset..offset + len];
        if descriptor_len == 0 {
            place.copy_from_slice(payload);
        } else {
            let (before, behind) = place.split_at_mut(descriptor.len());
            before.copy_from_slice(descriptor);
            behind.copy_from_slice(payload);
        }
        self.entries[self.arrivals as usize % SLOTS] = Some(Entry {
            meta,
            at: now,
            start: self.written,
            offset: offset as u32,
            len: len as u16,
            descriptor: descriptor_len,
        });
        let place = &mut self.places[meta.ext.0 as usize % SLOTS];
        let newer_there = self.entries[*place as usize % SLOTS].is_some_and(|other| {
            other.meta.epoch == meta.epoch
                && other.meta.ext > meta.ext
                && other.meta.ext.0 as usize % SLOTS == meta.ext.0 as usize % SLOTS
        });
        // A straggler does not hide a newer packet.
        if !newer_there {
            *place = self.arrivals;
        }
        self.written += len as u64;
        self.arrivals += 1;
        true
    }

    /// The packet that came as this arrival, if it is still there.
    pub fn arrival(&self, arrival: u64) -> Option<Kept<'_>> {
        if arrival >= self.arrivals || self.arrivals - arrival > SLOTS as u64 {
            return None;
        }
        let entry = self.entries[arrival as usize % SLOTS]?;
        if entry.start + (self.bytes.len() as u64) < self.written {
            return None;
        }
        let offset = entry.offset as usize;
        let all = &self.bytes[offset..offset + usize::from(entry.len)];
        let (descriptor, payload) = all.split_at(usize::from(entry.descriptor));
        Some(Kept {
            arrival,
            meta: entry.meta,
            at: entry.at,
            descriptor,
            payload,
        })
    }

    /// The packets of that number space which come behind this one by their numbers and came before that arrival, in the
    /// order of their numbers, as far as they are still there and not older than [`MAX_AGE`].
    pub(crate) fn overtakers(
        &self,
        now: Instant,
        first: &Meta,
        before: u64,
    ) -> impl Iterator<Item = Kept<'_>> {
        let (epoch, ext) = (first.epoch, first.ext.0);
        let numbers = (ext + 1..=ext + SLOTS as u64).map(ExtSeqNo);
        let came_before = move |ext: &ExtSeqNo| self.places[ext.0 as usize % SLOTS] < before;
        let numbers = numbers.filter(came_before);
        numbers.filter_map(move |ext| self.get_fresh(now, epoch, ext))
    }

    /// The packet of that number, if it is still there and not older than [`MAX_AGE`].
    pub fn get_fresh(&self, now: Instant, epoch: u32, ext: ExtSeqNo) -> Option<Kept<'_>> {
        let kept = self.arrival(self.places[ext.0 as usize % SLOTS])?;
        let is_it = (kept.meta.epoch, kept.meta.ext) == (epoch, ext);
        (is_it && now.saturating_duration_since(kept.at) <= MAX_AGE).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;
    use std::collections::HashMap;

    fn meta(epoch: u32, number: u64) -> Meta {
        Meta {
            epoch,
            ext: ExtSeqNo(number),
            timestamp: RtpTime(number as u32),
            marker: false,
            keyframe: false,
            layers: Layers::NONE,
            copies: 0,
            came_us: 0,
        }
    }

    fn get(cache: &PacketCache, now: Instant, number: u64) -> Option<&[u8]> {
        cache
            .get_fresh(now, 0, ExtSeqNo(number))
            .map(|it| it.payload)
    }

    /// Against a list of all that came: what is found is what was put, by its number and by its place, all of the last
    /// packets are found that the bytes hold, and nothing that is a whole ring older.
    #[test]
    fn what_is_found_is_what_came_whatever_the_sizes_and_the_order() {
        for seed in 0..40 {
            let (mut rng, now) = (Rng::new(seed), Instant::now());
            let capacity = [2000, 20_000, VIDEO_BYTES][rng.below(3) as usize];
            let mut cache = PacketCache::new(capacity);
            let mut came: Vec<(Meta, Vec<u8>, Vec<u8>)> = Vec::new();
            let mut newest = 70_000;
            let mut epoch = 0;
            for round in 0..3000u32 {
                if rng.below(700) == 0 {
                    epoch += 1;
                }
                newest += 1 + rng.below(3);
                let number = newest - rng.below(30).saturating_sub(25) * 3;
                let len = rng.below(1 + MAX_PAYLOAD as u64) as usize;
                let payload = vec![round as u8; len];
                let described = rng.below(256.min(1 + (MAX_PAYLOAD - len) as u64)) as usize;
                let descriptor = vec![!round as u8; described];
                assert!(cache.put(now, meta(epoch, number), &descriptor, &payload));
                came.push((meta(epoch, number), descriptor, payload));
                let end = came.len();
                assert_eq!(cache.end(), end as u64);
                // What a payload leaves out at the end of the block is less than a packet.
                let room = capacity - (MAX_PAYLOAD - 1);
                let mut newer = 0;
                let mut latest = HashMap::new();
                for at in (end.saturating_sub(SLOTS)..end).rev() {
                    let (meta, descriptor, payload) = &came[at];
                    let found = cache.arrival(at as u64);
                    if let Some(found) = found {
                        assert_eq!((found.meta, found.payload), (*meta, &payload[..]));
                        assert_eq!(found.descriptor, &descriptor[..]);
                    }
                    newer += descriptor.len() + payload.len();
                    let fits = newer <= room || at == end - 1;
                    assert!(!fits || found.is_some(), "seed {seed}: {at} of {end}");
                    let slot = latest.entry(meta.ext.0 % SLOTS as u64).or_insert(*meta);
                    if slot.epoch == meta.epoch && slot.ext < meta.ext {
                        *slot = *meta;
                    }
                    if round % 100 == 0 && fits {
                        let by_number = cache.get_fresh(now, meta.epoch, meta.ext);
                        let by_number = by_number.map(|it| it.meta);
                        assert!(by_number.is_none_or(|it| it == *meta));
                    }
                }
                assert!(cache.arrival(end as u64).is_none());
                assert!(end < SLOTS + 1 || cache.arrival((end - SLOTS - 1) as u64).is_none());
                let (last, _, payload) = &came[end - 1];
                let found = cache.get_fresh(now, epoch, last.ext);
                let is_newest = latest[&(last.ext.0 % SLOTS as u64)].ext == last.ext;
                assert_eq!(
                    found.map(|it| it.payload),
                    is_newest.then_some(&payload[..]),
                    "seed {seed}"
                );
            }
        }
    }

    #[test]
    fn the_last_packets_are_there_and_the_older_ones_are_gone() {
        let now = Instant::now();
        let mut cache = PacketCache::new(VIDEO_BYTES);
        for number in 100..800u64 {
            assert!(cache.put(now, meta(0, number), &[], &[number as u8; 3]));
        }
        for number in 288..800u64 {
            assert_eq!(
                get(&cache, now, number),
                Some(&[number as u8; 3][..]),
                "{number}"
            );
        }
        assert_eq!(get(&cache, now, 287), None);
        assert_eq!(get(&cache, now, 800), None);
    }

    #[test]
    fn a_straggler_neither_replaces_a_newer_packet_nor_hides_it() {
        let now = Instant::now();
        let mut cache = PacketCache::new(VIDEO_BYTES);
        let (old, new) = (16, 16 + SLOTS as u64);
        cache.put(now, meta(0, new), &[], &[1]);
        assert!(cache.put(now, meta(0, old), &[], &[2]));
        assert_eq!(get(&cache, now, new), Some(&[1][..]));
        assert_eq!(get(&cache, now, old), None);
        assert_eq!(cache.arrival(1).map(|it| it.payload), Some(&[2][..]));
    }

    #[test]
    fn a_number_of_another_epoch_is_another_packet() {
        let now = Instant::now();
        let mut cache = PacketCache::new(VIDEO_BYTES);
        cache.put(now, meta(0, 600), &[], &[1]);
        cache.put(now, meta(1, 88), &[], &[2]);
        assert_eq!(get(&cache, now, 600), None, "its slot is another's");
        assert_eq!(get(&cache, now, 88), None);
        let found = cache.get_fresh(now, 1, ExtSeqNo(88));
        assert_eq!(found.map(|it| it.payload), Some(&[2][..]));
    }

    #[test]
    fn what_is_too_large_or_too_old_is_not_given() {
        let now = Instant::now();
        let mut cache = PacketCache::new(0);
        assert!(!cache.put(now, meta(0, 1), &[], &[0; MAX_PAYLOAD + 1]));
        assert_eq!(cache.end(), 0);
        assert!(cache.put(now, meta(0, 2), &[], &[0; MAX_PAYLOAD]));
        let just = get(&cache, now + MAX_AGE, 2).map(<[u8]>::len);
        assert_eq!(just, Some(MAX_PAYLOAD));
        let after = now + MAX_AGE + Duration::from_millis(1);
        assert_eq!(get(&cache, after, 2), None);
        assert!(cache.arrival(0).is_some());
    }

    #[test]
    fn what_overtook_a_packet_is_what_came_before_it_with_a_higher_number_and_is_fresh() {
        let now = Instant::now();
        let mut cache = PacketCache::new(VIDEO_BYTES);
        for (epoch, number) in [(0, 14), (1, 9), (1, 12), (1, 11), (1, 15), (1, 10), (1, 13)] {
            cache.put(now, meta(epoch, number), &[], &[number as u8]);
        }
        let overtook = |now, number, before| {
            let first = meta(1, number);
            let found = cache.overtakers(now, &first, before);
            found.map(|it| it.meta.ext.0).collect::<Vec<_>>()
        };
        assert_eq!(overtook(now, 10, 5), [11, 12, 15]);
        assert_eq!(overtook(now, 10, 7), [11, 12, 13, 15]);
        assert_eq!(overtook(now, 15, 7), []);
        assert_eq!(overtook(now + MAX_AGE * 2, 10, 7), []);
    }
}
