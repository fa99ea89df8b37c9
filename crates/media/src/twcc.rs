//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): the
//! receiver's record of when each packet came, and the packet that reports it.

use crate::bytes::{Writer, u16_at, u24_at, u32_at};
use crate::num::{ExtSeqNo, SeqNo, SeqUnwrapper, Ssrc};
use std::collections::VecDeque;
use std::time::Duration;

/// Packets that wait for their report at the most: a jump further than this starts the record anew.
const MAX_SPAN: usize = 1024;

/// Packets reported in one feedback packet at the most.
const MAX_STATUSES: usize = 400;

/// The unit of the reference time, in microseconds.
const REFERENCE_UNIT: u64 = 64_000;

/// The unit of a delta, in microseconds.
const DELTA_UNIT: u64 = 250;

const HEADER_LEN: usize = 20;
const PACKET_TYPE: u8 = 205;
const FORMAT: u8 = 15;

/// Records arrivals of one transport's packets and writes the feedback about them.
#[derive(Debug, Default)]
pub struct TwccRecorder {
    unwrapper: SeqUnwrapper,
    /// Number of the first element of `arrivals`.
    base: ExtSeqNo,
    /// Arrivals not yet reported, in microseconds; the first and the last are always there.
    arrivals: VecDeque<Option<u64>>,
    started: bool,
    count: u8,
}

impl TwccRecorder {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a packet's transport-wide number and its arrival since an epoch that is the same for all arrivals.
    ///
    /// A number that was reported as missing already stays so; a duplicate keeps its first arrival.
    pub fn on_packet(&mut self, seq: u16, arrival: Duration) {
        let ext = self.unwrapper.unwrap(SeqNo(seq));
        let micros = arrival.as_micros() as u64;
        if !self.started {
            self.started = true;
            self.base = ext;
        }
        if ext < self.base {
            return;
        }
        let at = (ext.0 - self.base.0) as usize;
        if at >= MAX_SPAN {
            self.arrivals.clear();
            self.base = ext;
            self.arrivals.push_back(Some(micros));
            return;
        }
        if at >= self.arrivals.len() {
            self.arrivals.resize(at + 1, None);
        }
        self.arrivals[at].get_or_insert(micros);
    }

    /// How many numbers wait for their report, missing ones between them included.
    pub fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// Writes one feedback packet into `buf` and returns its length; none when there is nothing to report or `buf` is
    /// too small for a single status. To be called until it returns none.
    pub fn build(&mut self, buf: &mut [u8], sender: Ssrc, media: Ssrc) -> Option<usize> {
        // A report begins with a packet that came: only that gives a reference time.
        while self.arrivals.front()?.is_none() {
            self.arrivals.pop_front();
            self.base = self.base.plus(1);
        }
        let first = self.arrivals.front().copied().flatten()?;
        let reference = first / REFERENCE_UNIT;
        let symbols = self.symbols(reference, buf.len())?;
        let covered = symbols.len();

        let mut writer = Writer::new(buf);
        writer.u8(0x80 | FORMAT);
        writer.u8(PACKET_TYPE);
        writer.u16(0);
        writer.u32(sender.0);
        writer.u32(media.0);
        writer.u16(self.base.seq().0);
        writer.u16(covered as u16);
        writer.u24((reference & 0xff_ffff) as u32);
        writer.u8(self.count);
        write_chunks(&mut writer, &symbols);
        let mut previous = reference * REFERENCE_UNIT / DELTA_UNIT;
        for (arrival, symbol) in self.arrivals.iter().zip(&symbols) {
            let Some(micros) = arrival else { continue };
            let ticks = micros / DELTA_UNIT;
            let delta = ticks.wrapping_sub(previous).cast_signed();
            match symbol {
                Symbol::Small => writer.u8(delta as u8),
                Symbol::Large => writer.u16((delta as i16).cast_unsigned()),
                Symbol::Missing => {}
            }
            previous = ticks;
        }
        writer.pad_to_word();
        let words = writer.len() / 4 - 1;
        writer.set_u16(2, words as u16);
        let len = writer.finish();
        if len == 0 {
            return None;
        }
        self.arrivals.drain(..covered);
        self.base = self.base.plus(covered as u64);
        self.count = self.count.wrapping_add(1);
        Some(len)
    }

    /// What is said of each packet, as many as fit into `room` bytes. Each costs at most two bits in a chunk of two
    /// bytes for seven and two bytes of delta, so the bound is exact enough and never too large.
    fn symbols(&self, reference: u64, room: usize) -> Option<Vec<Symbol>> {
        let room = room.checked_sub(HEADER_LEN + 3)?;
        let mut symbols = Vec::with_capacity(self.arrivals.len().min(MAX_STATUSES));
        let mut previous = reference * REFERENCE_UNIT / DELTA_UNIT;
        let mut deltas = 0;
        for arrival in self.arrivals.iter().take(MAX_STATUSES) {
            let symbol = match arrival {
                None => Symbol::Missing,
                Some(micros) => {
                    let ticks = micros / DELTA_UNIT;
                    let delta = ticks.wrapping_sub(previous).cast_signed();
                    if i16::try_from(delta).is_err() {
                        break;
                    }
                    previous = ticks;
                    if u8::try_from(delta).is_ok() {
                        Symbol::Small
                    } else {
                        Symbol::Large
                    }
                }
            };
            let chunks = (symbols.len() + 1).div_ceil(7) * 2;
            deltas += symbol.delta_len();
            if chunks + deltas > room {
                break;
            }
            symbols.push(symbol);
        }
        (!symbols.is_empty()).then_some(symbols)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Missing = 0,
    Small = 1,
    Large = 2,
}

impl Symbol {
    fn delta_len(self) -> usize {
        self as usize
    }
}

/// Runs of at least a vector's worth as run length chunks (§3.1.3), everything else as two-bit vectors (§3.1.4).
fn write_chunks(writer: &mut Writer<'_>, symbols: &[Symbol]) {
    let mut rest = symbols;
    while let Some(&first) = rest.first() {
        let run = rest
            .iter()
            .take_while(|&&symbol| symbol == first)
            .count()
            .min(0x1fff);
        if run >= 7 || run == rest.len() {
            writer.u16(((first as u16) << 13) | run as u16);
            rest = &rest[run..];
            continue;
        }
        let taken = rest.len().min(7);
        let vector = rest[..taken]
            .iter()
            .enumerate()
            .fold(0xc000u16, |vector, (at, &symbol)| {
                vector | ((symbol as u16) << (12 - 2 * at))
            });
        writer.u16(vector);
        rest = &rest[taken..];
    }
}

/// A feedback packet as it was received, checked in its fixed part.
#[derive(Clone, Copy, Debug)]
pub struct TwccFeedback<'a> {
    /// Who sends the feedback.
    pub sender: Ssrc,
    /// A stream of the media it is about.
    pub media: Ssrc,
    /// Number of the first packet.
    pub base: SeqNo,
    /// How many packets it claims to be about.
    pub status_count: u16,
    /// The sender's clock, in units of 64 ms.
    pub reference_time: u32,
    /// Counts feedback packets.
    pub feedback_count: u8,
    body: &'a [u8],
}

impl<'a> TwccFeedback<'a> {
    /// Reads what follows the common RTCP header: `body` begins with the sender's SSRC and ends without padding.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        Some(TwccFeedback {
            sender: Ssrc(u32_at(body, 0)?),
            media: Ssrc(u32_at(body, 4)?),
            base: SeqNo(u16_at(body, 8)?),
            status_count: u16_at(body, 10)?,
            reference_time: u24_at(body, 12)?,
            feedback_count: *body.get(15)?,
            body: body.get(16..)?,
        })
    }

    /// Each packet with its delta to the one before (the first: to the reference time) in units of 250 µs; none: it
    /// did not come. Ends early where the packet is cut short, so its length is bounded by the bytes that are there.
    pub fn statuses(&self) -> TwccStatuses<'a> {
        let mut chunks_len = 0;
        let mut counted = 0u32;
        while counted < u32::from(self.status_count) {
            let Some(chunk) = u16_at(self.body, chunks_len) else {
                break;
            };
            chunks_len += 2;
            counted += chunk_len(chunk);
        }
        TwccStatuses {
            chunks: &self.body[..chunks_len],
            deltas: &self.body[chunks_len..],
            seq: self.base,
            remaining: self.status_count,
            at_in_chunk: 0,
        }
    }
}

fn chunk_len(chunk: u16) -> u32 {
    match chunk >> 14 {
        0 | 1 => u32::from(chunk & 0x1fff).max(1),
        2 => 14,
        _ => 7,
    }
}

/// See [`TwccFeedback::statuses`].
#[derive(Clone, Debug)]
pub struct TwccStatuses<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
    seq: SeqNo,
    remaining: u16,
    at_in_chunk: u32,
}

impl Iterator for TwccStatuses<'_> {
    type Item = (SeqNo, Option<i16>);

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let chunk = u16_at(self.chunks, 0)?;
        let at = self.at_in_chunk;
        let symbol = match chunk >> 14 {
            0 | 1 => (chunk >> 13) & 3,
            2 => (chunk >> (13 - at)) & 1,
            _ => (chunk >> (12 - 2 * at)) & 3,
        };
        self.at_in_chunk += 1;
        if self.at_in_chunk >= chunk_len(chunk) {
            self.at_in_chunk = 0;
            self.chunks = &self.chunks[2..];
        }
        let delta = match symbol {
            1 => {
                let (&delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i16::from(delta))
            }
            2 => {
                let (delta, rest) = self.deltas.split_first_chunk::<2>()?;
                self.deltas = rest;
                Some(i16::from_be_bytes(*delta))
            }
            _ => None,
        };
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        Some((seq, delta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::Rng;

    /// What a feedback packet says: number and arrival in microseconds, to the precision of the format.
    fn told(packet: &[u8]) -> Vec<(u16, Option<u64>)> {
        assert_eq!(packet.len() % 4, 0);
        assert_eq!(
            usize::from(u16_at(packet, 2).unwrap()) * 4 + 4,
            packet.len()
        );
        let feedback = TwccFeedback::parse(&packet[4..]).unwrap();
        let mut ticks = i64::from(feedback.reference_time) * 256;
        let statuses = feedback.statuses().map(|(seq, delta)| {
            let arrival = delta.map(|delta| {
                ticks += i64::from(delta);
                ticks as u64 * DELTA_UNIT
            });
            (seq.0, arrival)
        });
        let told: Vec<_> = statuses.collect();
        assert_eq!(told.len(), usize::from(feedback.status_count));
        told
    }

    fn all_feedback(recorder: &mut TwccRecorder) -> Vec<(u16, Option<u64>)> {
        let mut buf = [0; 1200];
        let mut out = Vec::new();
        while let Some(len) = recorder.build(&mut buf, Ssrc(1), Ssrc(2)) {
            out.extend(told(&buf[..len]));
        }
        out
    }

    #[test]
    fn the_bytes_of_three_packets_with_one_missing_are_these() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(10, Duration::from_micros(64_000));
        recorder.on_packet(11, Duration::from_micros(65_000));
        recorder.on_packet(13, Duration::from_micros(130_000));
        let mut buf = [0; 64];
        let len = recorder.build(&mut buf, Ssrc(1), Ssrc(2)).unwrap();
        let expected = [
            0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0, 4, 0, 0, 1, 0, // header
            0xd4, 0x80, // two-bit vector: small, small, missing, large
            0, 4, 0x01, 0x04, 0, 0, // 0 ms, 1 ms, 65 ms, padding
        ];
        assert_eq!(buf[..len], expected);
        assert_eq!(recorder.build(&mut buf, Ssrc(1), Ssrc(2)), None);
    }

    #[test]
    fn what_is_read_is_what_was_recorded_with_losses_reordering_and_wraps() {
        let mut rng = Rng::new(5);
        let mut recorder = TwccRecorder::new();
        let mut now = 5_000_000u64;
        let mut seq = 65_400u64;
        let mut reported = 0;
        for _ in 0..300 {
            let mut sent = Vec::new();
            for _ in 0..1 + rng.below(60) {
                seq += 1 + rng.below(3) / 2 + rng.below(40) / 39 * rng.below(30);
                now += rng.below(9_000) + rng.below(50) / 49 * 400_000;
                sent.push((seq, now));
            }
            for at in 1..sent.len() {
                if rng.below(5) == 0 {
                    sent.swap(at - 1, at);
                }
            }
            for &(seq, micros) in &sent {
                recorder.on_packet(seq as u16, Duration::from_micros(micros));
            }
            let told = all_feedback(&mut recorder);
            for &(seq, micros) in &sent {
                let found = told.iter().find(|(number, _)| *number == seq as u16);
                if let Some((_, Some(arrival))) = found {
                    assert!(
                        micros.abs_diff(*arrival) < DELTA_UNIT,
                        "{seq}: {micros} {arrival}"
                    );
                    reported += 1;
                }
            }
        }
        assert!(reported > 8_000, "{reported}");
    }

    #[test]
    fn a_jump_of_the_numbers_costs_no_memory_and_starts_anew() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(1, Duration::ZERO);
        recorder.on_packet(30_000, Duration::from_millis(1));
        assert_eq!(recorder.waiting(), 1);
        assert_eq!(all_feedback(&mut recorder), [(30_000, Some(1_000))]);
    }

    #[test]
    fn a_gap_in_time_that_no_delta_can_express_becomes_a_second_packet() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(1, Duration::from_secs(1));
        recorder.on_packet(2, Duration::from_secs(20));
        let mut buf = [0; 100];
        let mut packets = 0;
        while recorder.build(&mut buf, Ssrc(1), Ssrc(2)).is_some() {
            packets += 1;
        }
        assert_eq!(packets, 2);
    }

    #[test]
    fn a_buffer_that_is_too_small_gives_nothing_and_loses_nothing() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(1, Duration::from_secs(1));
        assert_eq!(recorder.build(&mut [0; 22], Ssrc(1), Ssrc(2)), None);
        assert_eq!(recorder.waiting(), 1);
        assert!(recorder.build(&mut [0; 28], Ssrc(1), Ssrc(2)).is_some());
    }

    #[test]
    fn garbage_is_read_within_its_own_length() {
        let mut rng = Rng::new(17);
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..rng.below(64)).map(|_| rng.next_u32() as u8).collect();
            if let Some(feedback) = TwccFeedback::parse(&body) {
                assert!(feedback.statuses().count() <= usize::from(feedback.status_count));
            }
        }
    }
}
