//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): when each
//! packet of a transport arrived, whatever its stream.

use std::time::Duration;

use crate::wire::bytes::{Writer, u16_at, u24_at};
use crate::wire::num::{ExtSeqNo, SeqNo, SeqUnwrapper, Ssrc};

const SLOTS: usize = 512; // ours: a feedback interval of 100 ms at 50 Mbit/s
const FIXED_LEN: usize = 20; // RTCP header, both SSRCs, base, count, reference time, feedback count
const TICK: u128 = 250; // µs, draft §3.1.5
const TICKS_PER_REFERENCE: u32 = 256; // 64 ms, draft §3.1
const MAX_RUN: usize = 0x1fff; // draft §3.1.3

/// Status symbols, draft §3.1.1.
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    ticks: u32,
}

/// Records arrivals and builds the feedback about them. It holds a fixed number of arrivals; packets lost are never
/// stored, so a peer that jumps about in its numbers costs nothing.
#[derive(Debug, Default)]
pub struct TwccRecorder {
    unwrapper: SeqUnwrapper,
    slots: Vec<Slot>,
    /// The first number of the next feedback.
    base: Option<ExtSeqNo>,
    unreported: bool,
    feedback_count: u8,
}

impl TwccRecorder {
    /// A transport of which nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the arrival of the packet with this transport-wide number, `arrival` after an epoch that stays the same.
    /// Of a duplicate the first arrival counts.
    pub fn on_packet(&mut self, seq: u16, arrival: Duration) {
        if self.slots.is_empty() {
            // Each slot starts with a number that belongs to another one.
            self.slots = (0..SLOTS as u32)
                .map(|i| Slot {
                    number: i ^ 1,
                    ticks: 0,
                })
                .collect();
        }
        let newest_before = self.unwrapper.newest();
        let ext = self.unwrapper.unwrap(SeqNo(seq));
        if newest_before.is_some_and(|newest| newest.0.saturating_sub(ext.0) >= SLOTS as u64) {
            return; // too late to be told apart from what replaced it
        }
        let slot = &mut self.slots[ext.0 as usize % SLOTS];
        if slot.number == ext.low32() {
            return;
        }
        *slot = Slot {
            number: ext.low32(),
            ticks: (arrival.as_micros() / TICK) as u32,
        };
        self.base = Some(self.base.map_or(ext, |base| base.min(ext)));
        self.unreported = true;
    }

    /// Whether there is anything to report.
    pub fn has_unreported(&self) -> bool {
        self.unreported
    }

    /// Builds one feedback packet about what was not reported yet, and about what followed a packet that was late.
    /// `None` when nothing is left or nothing fits into `buf`; call again until then.
    pub fn build(&mut self, buf: &mut [u8], sender: Ssrc, media: Ssrc) -> Option<usize> {
        if !self.unreported {
            return None;
        }
        let newest = self.unwrapper.newest()?;
        let base = self
            .base?
            .max(ExtSeqNo((newest.0 + 1).saturating_sub(SLOTS as u64)));
        let first = (base.0..=newest.0).find_map(|ext| self.arrival(ext))?;
        let reference = first / TICKS_PER_REFERENCE;

        let mut symbols = [NOT_RECEIVED; SLOTS];
        let mut count = 0;
        let mut delta_bytes = 0usize;
        let mut previous = reference * TICKS_PER_REFERENCE;
        for ext in base.0..=newest.0 {
            let (symbol, size) = match self.arrival(ext) {
                None => (NOT_RECEIVED, 0),
                Some(ticks) => {
                    let delta = ticks.wrapping_sub(previous).cast_signed();
                    previous = ticks;
                    match delta {
                        0..=0xff => (SMALL_DELTA, 1),
                        -0x8000..=0x7fff => (LARGE_DELTA, 2),
                        _ => break, // 8 s apart: the next feedback has a reference time of its own
                    }
                }
            };
            let chunks = 2 * (count + 1usize).div_ceil(7);
            if FIXED_LEN + chunks + (delta_bytes + size).next_multiple_of(2) + 2 > buf.len() {
                break;
            }
            *symbols.get_mut(count)? = symbol;
            count += 1;
            delta_bytes += size;
        }
        let reported = symbols.get(..count)?;
        if reported.iter().all(|&symbol| symbol == NOT_RECEIVED) {
            return None; // the buffer is too small to say anything
        }

        let mut out = Writer::new(buf);
        out.u8(0x80 | 15); // transport layer feedback, format 15
        out.u8(205);
        out.u16(0);
        out.u32(sender.0);
        out.u32(media.0);
        out.u16(base.seq().0);
        out.u16(count as u16);
        out.u24(reference & 0x00ff_ffff);
        out.u8(self.feedback_count);
        write_chunks(&mut out, reported);
        let mut previous = reference * TICKS_PER_REFERENCE;
        for (ext, &symbol) in (base.0..).zip(reported) {
            let Some(ticks) = self.arrival(ext).filter(|_| symbol != NOT_RECEIVED) else {
                continue;
            };
            let delta = ticks.wrapping_sub(previous);
            previous = ticks;
            if symbol == SMALL_DELTA {
                out.u8(delta as u8)
            } else {
                out.u16(delta as u16)
            }
        }
        out.pad_to_word();
        let words = out.len() / 4 - 1;
        out.set_u16(2, words as u16);
        let len = out.finish();
        if len == 0 {
            return None;
        }
        self.feedback_count = self.feedback_count.wrapping_add(1);
        let next = base.plus(count as u64);
        self.base = Some(next);
        self.unreported = next <= newest;
        Some(len)
    }

    fn arrival(&self, ext: u64) -> Option<u32> {
        let slot = self.slots.get(ext as usize % SLOTS)?;
        (slot.number == ext as u32).then_some(slot.ticks)
    }
}

/// Packs symbols into chunks (draft §3.1.2–3.1.4). Every chunk but the last covers seven symbols at least.
fn write_chunks(out: &mut Writer<'_>, mut symbols: &[u8]) {
    while let Some(&first) = symbols.first() {
        let run = symbols
            .iter()
            .take(MAX_RUN)
            .take_while(|&&symbol| symbol == first)
            .count();
        let small = symbols.iter().take(14).all(|&symbol| symbol != LARGE_DELTA);
        let covered = if run >= 14 || run == symbols.len() || (run >= 7 && !small) {
            out.u16(u16::from(first) << 13 | run as u16);
            run
        } else if small {
            let bits = (0..14).fold(0, |bits, i| {
                bits << 1 | u16::from(symbols.get(i).copied().unwrap_or(0))
            });
            out.u16(0x8000 | bits);
            14
        } else {
            let bits = (0..7).fold(0, |bits, i| {
                bits << 2 | u16::from(symbols.get(i).copied().unwrap_or(0))
            });
            out.u16(0xc000 | bits);
            7
        };
        symbols = symbols.get(covered..).unwrap_or_default();
    }
}

/// Why feedback cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedbackError {
    /// It tells of more packets than its bytes hold.
    Truncated,
    /// It has a symbol that stands for nothing.
    Malformed,
}

/// A feedback packet whose chunks and deltas are all there.
#[derive(Clone, Debug)]
pub struct Feedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// A stream of the transport that is reported on.
    pub media: Ssrc,
    /// The number of the first packet reported on.
    pub base: SeqNo,
    /// How many packets are reported on.
    pub status_count: u16,
    /// The reference time in multiples of 64 ms of the reporter's clock, 24 bits signed.
    pub reference_time: i32,
    /// Counts the feedback packets; it wraps.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> Feedback<'a> {
    /// Reads what follows the two SSRCs of a feedback packet. The work is bounded by the bytes that are there, whatever
    /// the count says.
    pub(crate) fn parse(sender: Ssrc, media: Ssrc, body: &'a [u8]) -> Result<Self, FeedbackError> {
        let base = SeqNo(u16_at(body, 0).ok_or(FeedbackError::Truncated)?);
        let status_count = u16_at(body, 2).ok_or(FeedbackError::Truncated)?;
        let reference_time =
            (u24_at(body, 4).ok_or(FeedbackError::Truncated)? << 8).cast_signed() >> 8;
        let feedback_count = *body.get(7).ok_or(FeedbackError::Truncated)?;
        let rest = body.get(8..).unwrap_or_default();
        let (mut chunks_len, mut covered, mut deltas_len) = (0, 0, 0);
        while covered < usize::from(status_count) {
            let chunk = Chunk(u16_at(rest, chunks_len).ok_or(FeedbackError::Truncated)?);
            chunks_len += 2;
            let counted = chunk.len().min(usize::from(status_count) - covered);
            covered += counted;
            deltas_len += chunk.delta_bytes(counted).ok_or(FeedbackError::Malformed)?;
        }
        let (chunks, rest) = rest
            .split_at_checked(chunks_len)
            .ok_or(FeedbackError::Truncated)?;
        let deltas = rest.get(..deltas_len).ok_or(FeedbackError::Truncated)?;
        Ok(Feedback {
            sender,
            media,
            base,
            status_count,
            reference_time,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// Every packet reported on and, if it arrived, when: in microseconds of the reporter's clock.
    pub fn packets(&self) -> Packets<'a> {
        Packets {
            seq: self.base,
            left: self.status_count,
            time: i64::from(self.reference_time) * 64_000,
            chunk: Chunk(0),
            chunk_at: 0,
            chunks: self.chunks,
            deltas: self.deltas,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Chunk(u16);

impl Chunk {
    fn len(self) -> usize {
        match self.0 >> 14 {
            0 | 1 => usize::from(self.0) & MAX_RUN,
            2 => 14,
            _ => 7,
        }
    }

    fn symbol(self, at: usize) -> u8 {
        let symbol = match self.0 >> 14 {
            0 | 1 => self.0 >> 13,
            2 => self.0 >> 13usize.saturating_sub(at) & 1,
            _ => self.0 >> (2 * 6usize.saturating_sub(at)) & 3,
        };
        symbol as u8
    }

    /// Bytes of the deltas of the first `counted` symbols; `None` for the reserved symbol.
    fn delta_bytes(self, counted: usize) -> Option<usize> {
        if self.0 >> 15 == 0 {
            let symbol = self.symbol(0);
            return (symbol <= LARGE_DELTA).then_some(counted * usize::from(symbol));
        }
        (0..counted)
            .map(|at| {
                Some(self.symbol(at))
                    .filter(|&s| s <= LARGE_DELTA)
                    .map(usize::from)
            })
            .sum()
    }
}

/// Iterator over the packets of a [`Feedback`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    seq: SeqNo,
    left: u16,
    time: i64,
    chunk: Chunk,
    chunk_at: usize,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Iterator for Packets<'_> {
    type Item = (SeqNo, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        while self.chunk_at >= self.chunk.len() {
            self.chunk = Chunk(u16_at(self.chunks, 0)?);
            self.chunks = self.chunks.get(2..)?;
            self.chunk_at = 0;
        }
        let symbol = self.chunk.symbol(self.chunk_at);
        self.chunk_at += 1;
        let delta = match symbol {
            NOT_RECEIVED => None,
            SMALL_DELTA => self.deltas.first().map(|&delta| i64::from(delta)),
            _ => u16_at(self.deltas, 0).map(|delta| i64::from(delta.cast_signed())),
        };
        self.deltas = self.deltas.get(usize::from(symbol)..).unwrap_or_default();
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        let at = delta.map(|delta| {
            self.time += delta * TICK as i64;
            self.time
        });
        Some((seq, at))
    }
}

#[cfg(test)]
mod tests;
