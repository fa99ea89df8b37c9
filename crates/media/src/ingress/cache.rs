//! The retransmission cache: the last packets of one incoming track, in slots of a fixed size.

use crate::wire::num::ExtSeqNo;
use std::time::{Duration, Instant};

/// The largest packet a slot holds: the UDP payload of an Ethernet frame over IPv4.
pub const SLOT_SIZE: usize = 1472;

/// Packets that are kept of a track for retransmission: more than a second of 4 Mbit/s.
pub(crate) const SLOTS: usize = 512;

/// A packet older than this is not sent again: no receiver waits for it any more.
pub const MAX_AGE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
struct Entry {
    ext: ExtSeqNo,
    len: u16,
    at: Instant,
}

/// A ring of packets, found by their extended sequence number. Nothing is allocated after it is made.
pub struct PacketCache {
    entries: Vec<Option<Entry>>,
    bytes: Vec<u8>,
}

impl PacketCache {
    /// A cache of the last `slots` packets, at least one; each costs [`SLOT_SIZE`] bytes.
    pub fn new(slots: usize) -> Self {
        let slots = slots.max(1);
        PacketCache {
            entries: vec![None; slots],
            bytes: vec![0; slots * SLOT_SIZE],
        }
    }

    /// Keeps a plain packet in place of the one that is a whole ring older. A straggler does not push out a newer
    /// packet, and one that is too large for a slot is not kept: false then.
    pub fn put(&mut self, ext: ExtSeqNo, packet: &[u8], now: Instant) -> bool {
        let slot = self.slot(ext);
        let newer = self.entries[slot].is_some_and(|kept| kept.ext > ext);
        if packet.len() > SLOT_SIZE || newer {
            return false;
        }
        let start = slot * SLOT_SIZE;
        self.bytes[start..start + packet.len()].copy_from_slice(packet);
        self.entries[slot] = Some(Entry {
            ext,
            len: packet.len() as u16,
            at: now,
        });
        true
    }

    /// The packet of that number, if it is still there.
    #[cfg(test)]
    fn get(&self, ext: ExtSeqNo) -> Option<&[u8]> {
        self.entry(ext).map(|(packet, _)| packet)
    }

    /// The packet of that number, if it is still there and not older than [`MAX_AGE`].
    pub fn get_fresh(&self, ext: ExtSeqNo, now: Instant) -> Option<&[u8]> {
        let (packet, at) = self.entry(ext)?;
        (now.saturating_duration_since(at) <= MAX_AGE).then_some(packet)
    }

    fn entry(&self, ext: ExtSeqNo) -> Option<(&[u8], Instant)> {
        let slot = self.slot(ext);
        let entry = self.entries[slot].filter(|kept| kept.ext == ext)?;
        let start = slot * SLOT_SIZE;
        Some((&self.bytes[start..start + usize::from(entry.len)], entry.at))
    }

    fn slot(&self, ext: ExtSeqNo) -> usize {
        (ext.0 % self.entries.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_packets_are_there_and_the_older_ones_are_gone() {
        let now = Instant::now();
        let mut cache = PacketCache::new(8);
        for number in 100..120u64 {
            assert!(cache.put(ExtSeqNo(number), &[number as u8; 3], now));
        }
        for number in 112..120u64 {
            assert_eq!(cache.get(ExtSeqNo(number)), Some(&[number as u8; 3][..]));
        }
        assert_eq!(cache.get(ExtSeqNo(111)), None);
        assert_eq!(cache.get(ExtSeqNo(120)), None);
    }

    #[test]
    fn a_straggler_neither_replaces_a_newer_packet_nor_hides_it() {
        let now = Instant::now();
        let mut cache = PacketCache::new(8);
        cache.put(ExtSeqNo(16), &[1], now);
        assert!(!cache.put(ExtSeqNo(8), &[2], now));
        assert_eq!(cache.get(ExtSeqNo(16)), Some(&[1][..]));
        assert_eq!(cache.get(ExtSeqNo(8)), None);
    }

    #[test]
    fn what_is_too_large_or_too_old_is_not_given() {
        let now = Instant::now();
        let mut cache = PacketCache::new(2);
        assert!(!cache.put(ExtSeqNo(1), &[0; SLOT_SIZE + 1], now));
        assert_eq!(cache.get(ExtSeqNo(1)), None);
        assert!(cache.put(ExtSeqNo(2), &[0; SLOT_SIZE], now));
        assert_eq!(
            cache.get_fresh(ExtSeqNo(2), now + MAX_AGE).map(<[u8]>::len),
            Some(SLOT_SIZE)
        );
        assert_eq!(
            cache.get_fresh(ExtSeqNo(2), now + MAX_AGE + Duration::from_millis(1)),
            None
        );
        assert!(cache.get(ExtSeqNo(2)).is_some());
    }

    #[test]
    fn no_slots_are_one_slot() {
        let mut cache = PacketCache::new(0);
        assert!(cache.put(ExtSeqNo(5), &[9], Instant::now()));
        assert_eq!(cache.get(ExtSeqNo(5)), Some(&[9][..]));
    }
}
