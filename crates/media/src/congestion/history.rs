//! What was sent, by transport-wide number, so that feedback can be held against it.

use crate::wire::num::SeqNo;
use std::time::Instant;

/// Slots at first: ten seconds of audio, two of video of 2.2 Mbit/s; 4 kB.
const FIRST_SLOTS: usize = 512;

/// Slots at most: what 50 Mbit/s send in 400 ms, a round trip and the interval of feedback together; 16 kB.
const MOST_SLOTS: usize = 2048;

/// A packet is waited for this long before its slot may be given to another without more slots being made.
const PATIENCE_TICKS: u32 = TICKS_PER_SECOND;

/// What times are kept in: finer than feedback tells them (250 µs), and 32 bits of them are two days.
const TICK_MICROS: u32 = 50;
pub(super) const TICKS_PER_SECOND: u32 = 1_000_000 / TICK_MICROS;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was said of it yet.
    Open,
    /// It was reported missing. It may be late.
    Lost,
    /// It arrived.
    Arrived,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    bytes: u16,
    /// The probe that it is part of, if it is: see [`super::Probe`].
    cluster: u8,
    fate: Fate,
}

impl Entry {
    const NONE: Entry = Entry {
        at: 0,
        bytes: 0,
        cluster: 0,
        fate: Fate::Open,
    };
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Counts packets; it does not wrap.
    pub(super) number: u64,
    /// When, in microseconds since the first one.
    pub(super) at: i64,
    pub(super) bytes: usize,
    pub(super) cluster: u8,
    /// What was known of it before.
    pub(super) fate: Fate,
}

/// Why feedback about a packet says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Nothing was ever sent under that number.
    NeverSent,
    /// It was sent too long ago.
    Forgotten,
}

/// A ring of the last packets. It grows while packets that are still waited for would be forgotten, up to a bound.
#[derive(Debug, Default)]
pub(super) struct History {
    started: Option<Instant>,
    /// The moment that was asked for last, and its ticks.
    last: Option<(Instant, u32)>,
    entries: Vec<Entry>,
    /// The number that the next packet gets.
    next: u64,
    /// The oldest number that more slots could not bring back.
    first: u64,
}

impl History {
    /// The 16 bits that the next packet carries.
    pub(super) fn next_number(&self) -> SeqNo {
        SeqNo(self.next as u16)
    }

    /// A packet goes out, so many ticks after the first one. `waits`: feedback comes, so that it is worth waiting for.
    pub(super) fn push(&mut self, at: u32, bytes: usize, cluster: u8, waits: bool) {
        if self.entries.is_empty() {
            self.entries = vec![Entry::NONE; FIRST_SLOTS];
        } else if waits && self.entries.len() < MOST_SLOTS {
            self.grow_for(at);
        }
        let entry = Entry {
            at,
            bytes: bytes.min(usize::from(u16::MAX)) as u16,
            cluster,
            fate: Fate::Open,
        };
        let slot = self.slot(self.next);
        self.entries[slot] = entry;
        self.next += 1;
    }

    /// Makes more slots if the oldest packet is still waited for.
    fn grow_for(&mut self, at: u32) {
        if self.next < self.entries.len() as u64 {
            return;
        }
        let oldest = self.entries[self.slot(self.next)];
        let age = at.wrapping_sub(oldest.at);
        if oldest.fate != Fate::Open || age >= PATIENCE_TICKS {
            return;
        }
        // Of twice as many slots a packet's is the one it had, or that one moved up by the old length.
        self.first = self.next.saturating_sub(self.entries.len() as u64);
        self.entries.extend_from_within(..);
    }

    /// Bytes of the packets from this number on.
    pub(super) fn bytes_since(&self, number: u64) -> usize {
        let oldest = self.next.saturating_sub(self.entries.len() as u64);
        let numbers = number.max(self.first).max(oldest)..self.next;
        numbers
            .map(|number| usize::from(self.entries[self.slot(number)].bytes))
            .sum()
    }

    /// Feedback tells of a packet. Returns what is known of it, and keeps what became of it.
    pub(super) fn settle(&mut self, seq: SeqNo, arrived: bool) -> Result<Sent, Unknown> {
        let newest = self.next.checked_sub(1).ok_or(Unknown::NeverSent)?;
        let ahead = i64::from(SeqNo(newest as u16).distance_to(seq));
        let number = newest
            .checked_add_signed(ahead)
            .filter(|_| ahead <= 0)
            .ok_or(Unknown::NeverSent)?;
        if number < self.first || newest - number >= self.entries.len() as u64 {
            return Err(Unknown::Forgotten);
        }
        let slot = self.slot(number);
        let entry = &mut self.entries[slot];
        let sent = Sent {
            number,
            at: i64::from(entry.at) * i64::from(TICK_MICROS),
            bytes: usize::from(entry.bytes),
            cluster: entry.cluster,
            fate: entry.fate,
        };
        entry.fate = match (entry.fate, arrived) {
            (Fate::Arrived, _) | (_, true) => Fate::Arrived,
            _ => Fate::Lost,
        };
        Ok(sent)
    }

    /// Microseconds since the first packet, as [`Sent::at`] counts them.
    pub(super) fn micros(&mut self, now: Instant) -> i64 {
        i64::from(self.ticks(now)) * i64::from(TICK_MICROS)
    }

    /// Ticks since the first packet.
    pub(super) fn ticks(&mut self, now: Instant) -> u32 {
        // Many packets go out in one turn.
        if let Some((at, ticks)) = self.last
            && at == now
        {
            return ticks;
        }
        let started = *self.started.get_or_insert(now);
        let passed = now.saturating_duration_since(started);
        // Modulo 2^32: what is two days old is long forgotten.
        let ticks = (passed.as_secs() as u32)
            .wrapping_mul(TICKS_PER_SECOND)
            .wrapping_add(passed.subsec_micros() / TICK_MICROS);
        self.last = Some((now, ticks));
        ticks
    }

    fn slot(&self, number: u64) -> usize {
        // A power of two.
        number as usize & (self.entries.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settle(history: &mut History, number: u64) -> Result<u64, Unknown> {
        let sent = history.settle(SeqNo(number as u16), true);
        sent.map(|sent| sent.number)
    }

    #[test]
    fn what_was_sent_is_known_and_neither_what_was_not_nor_what_is_long_past() {
        let mut history = History::default();
        assert_eq!(settle(&mut history, 0), Err(Unknown::NeverSent));
        let count = 70_000;
        for _ in 0..count {
            history.push(0, 1_000, 0, false);
        }
        let first = count - FIRST_SLOTS as u64;
        assert_eq!(settle(&mut history, count), Err(Unknown::NeverSent));
        assert_eq!(settle(&mut history, first), Ok(first));
        assert_eq!(settle(&mut history, first - 1), Err(Unknown::Forgotten));
        assert_eq!(history.bytes_since(count - 3), 3_000);
        assert_eq!(history.bytes_since(0), FIRST_SLOTS * 1_000);
    }

    /// Without more slots a fast path would forget packets before anybody can tell of them.
    #[test]
    fn slots_are_made_while_packets_are_waited_for_and_lose_none() {
        let mut history = History::default();
        for number in 0..10_000_u64 {
            history.push(number as u32 * 4, number as usize % 1_000, 0, true);
            // Each 200 µs one, told of after 300 ms.
            if let Some(told) = number.checked_sub(1_500) {
                let known = history.settle(SeqNo(told as u16), true).unwrap();
                assert_eq!(known.bytes as u64, told % 1_000);
                assert_eq!((known.number, known.fate), (told, Fate::Open));
            }
        }
        assert_eq!(history.entries.len(), MOST_SLOTS);
    }

    #[test]
    fn slots_are_bounded_and_not_made_for_who_never_tells() {
        for (waits, told, slots) in [
            (true, false, MOST_SLOTS),
            (true, true, FIRST_SLOTS),
            (false, false, FIRST_SLOTS),
        ] {
            let mut history = History::default();
            for number in 0..100_000_u64 {
                history.push(0, number as usize % 1_000, 0, waits);
                if told {
                    let known = history.settle(SeqNo(number as u16), false);
                    assert_eq!(known.unwrap().bytes as u64, number % 1_000);
                }
            }
            assert_eq!(history.entries.len(), slots);
        }
    }

    #[test]
    fn times_are_those_of_sending_and_a_fate_is_kept() {
        let (mut history, now) = (History::default(), Instant::now());
        for (after, cluster) in [(0, 0), (1_234, 7)] {
            let at = history.ticks(now + Duration::from_millis(after));
            history.push(at, 10, cluster, true);
        }
        let told = [false, false, true, false].map(|arrived| {
            let sent = history.settle(SeqNo(1), arrived).unwrap();
            assert_eq!((sent.at, sent.cluster), (1_234_000, 7));
            sent.fate
        });
        assert_eq!(told, [Fate::Open, Fate::Lost, Fate::Lost, Fate::Arrived]);
    }
}
