//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): when each
//! packet of a transport arrived, whatever its stream.

use std::time::Duration;

use crate::bytes::{Writer, u16_at, u24_at};
use crate::num::{ExtSeqNo, SeqNo, SeqUnwrapper, Ssrc};
use crate::rtcp::RtcpError;

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
    pub(crate) fn parse(sender: Ssrc, media: Ssrc, body: &'a [u8]) -> Result<Self, RtcpError> {
        let base = SeqNo(u16_at(body, 0).ok_or(RtcpError::Truncated)?);
        let status_count = u16_at(body, 2).ok_or(RtcpError::Truncated)?;
        let reference_time = (u24_at(body, 4).ok_or(RtcpError::Truncated)? << 8).cast_signed() >> 8;
        let feedback_count = *body.get(7).ok_or(RtcpError::Truncated)?;
        let rest = body.get(8..).unwrap_or_default();
        let (mut chunks_len, mut covered, mut deltas_len) = (0, 0, 0);
        while covered < usize::from(status_count) {
            let chunk = Chunk(u16_at(rest, chunks_len).ok_or(RtcpError::Truncated)?);
            chunks_len += 2;
            let counted = chunk.len().min(usize::from(status_count) - covered);
            covered += counted;
            deltas_len += chunk.delta_bytes(counted).ok_or(RtcpError::Malformed)?;
        }
        let (chunks, rest) = rest
            .split_at_checked(chunks_len)
            .ok_or(RtcpError::Truncated)?;
        let deltas = rest.get(..deltas_len).ok_or(RtcpError::Truncated)?;
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
mod tests {
    use super::*;
    use crate::num::Rng;
    use crate::rtcp::{Rtcp, parse_compound};

    fn feedback(packet: &[u8]) -> Feedback<'_> {
        match parse_compound(packet).next() {
            Some(Ok(Rtcp::Twcc(feedback))) => feedback,
            other => panic!("{other:?}"),
        }
    }

    fn build(recorder: &mut TwccRecorder) -> Option<Vec<(u16, Option<i64>)>> {
        let mut buf = [0; 1200];
        let len = recorder.build(&mut buf, Ssrc(1), Ssrc(2))?;
        Some(
            feedback(&buf[..len])
                .packets()
                .map(|(seq, at)| (seq.0, at))
                .collect(),
        )
    }

    #[test]
    fn arrivals_come_back_in_microseconds_with_the_lost_between_them() {
        let mut recorder = TwccRecorder::new();
        assert!(!recorder.has_unreported());
        for (seq, micros) in [
            (65534, 1_000_000),
            (65535, 1_000_500),
            (2, 1_100_000),
            (1, 1_100_250),
        ] {
            recorder.on_packet(seq, Duration::from_micros(micros));
        }
        recorder.on_packet(1, Duration::from_secs(9)); // a duplicate
        let expected = vec![
            (65534, Some(1_000_000)),
            (65535, Some(1_000_500)),
            (0, None),
            (1, Some(1_100_250)),
            (2, Some(1_100_000)),
        ];
        assert_eq!(build(&mut recorder), Some(expected));
        assert_eq!(build(&mut recorder), None);
    }

    #[test]
    fn a_late_packet_brings_back_what_followed_it() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(1, Duration::from_millis(64));
        recorder.on_packet(3, Duration::from_millis(65));
        assert_eq!(build(&mut recorder).unwrap().len(), 3);
        recorder.on_packet(2, Duration::from_millis(66));
        assert_eq!(
            build(&mut recorder),
            Some(vec![(2, Some(66_000)), (3, Some(65_000))])
        );
        recorder.on_packet(4, Duration::from_millis(67));
        assert_eq!(build(&mut recorder), Some(vec![(4, Some(67_000))]));
    }

    #[test]
    fn arrivals_far_apart_go_into_feedback_of_their_own() {
        let mut recorder = TwccRecorder::new();
        recorder.on_packet(1, Duration::from_secs(1));
        recorder.on_packet(2, Duration::from_secs(60));
        assert_eq!(build(&mut recorder), Some(vec![(1, Some(1_000_000))]));
        assert_eq!(build(&mut recorder), Some(vec![(2, Some(60_000_000))]));
        assert_eq!(build(&mut recorder), None);
    }

    #[test]
    fn a_random_stream_is_reported_exactly_in_buffers_of_any_size() {
        let mut rng = Rng::new(9);
        for round in 0..300 {
            let mut recorder = TwccRecorder::new();
            let (mut seq, mut at) = (
                rng.next_u32() as u16,
                Duration::from_millis(rng.below(100_000)),
            );
            let loss = [1, 10, 50, 90][round % 4];
            let mut sent = Vec::new();
            for _ in 0..rng.below(400) + 1 {
                seq = seq.wrapping_add(1);
                at += Duration::from_micros(
                    rng.below(if round % 3 == 0 { 100_000 } else { 3_000 }) / 250 * 250,
                );
                if rng.below(100) >= loss {
                    recorder.on_packet(seq, at);
                    sent.push((seq, at.as_micros() as i64));
                }
            }
            let mut reported = Vec::new();
            let mut buf = vec![0; 60 + rng.below(1000) as usize];
            let mut expected_count = 0;
            while let Some(len) = recorder.build(&mut buf, Ssrc(7), Ssrc(8)) {
                let feedback = feedback(&buf[..len]);
                assert_eq!(
                    (len % 4, feedback.sender, feedback.media),
                    (0, Ssrc(7), Ssrc(8))
                );
                assert_eq!(feedback.feedback_count, expected_count);
                expected_count = expected_count.wrapping_add(1);
                assert_eq!(
                    feedback.packets().count(),
                    usize::from(feedback.status_count)
                );
                reported.extend(
                    feedback
                        .packets()
                        .filter_map(|(seq, at)| Some((seq.0, at?))),
                );
            }
            assert_eq!(reported, sent, "round {round}");
        }
    }

    #[test]
    fn jumps_in_the_numbers_cost_no_more_than_the_window() {
        let mut recorder = TwccRecorder::new();
        let mut rng = Rng::new(4);
        for _ in 0..50_000 {
            recorder.on_packet(
                rng.next_u32() as u16,
                Duration::from_micros(rng.below(1 << 40)),
            );
            if rng.below(20) == 0 {
                while let Some(report) = build(&mut recorder) {
                    assert!(report.len() <= SLOTS);
                }
            }
        }
        recorder.on_packet(0, Duration::ZERO);
        assert_eq!(recorder.build(&mut [0; 21], Ssrc(1), Ssrc(2)), None);
        assert_eq!(recorder.build(&mut [], Ssrc(1), Ssrc(2)), None);
    }

    #[test]
    fn counts_that_claim_more_than_is_there_are_refused() {
        let parse =
            |body: &[u8]| Feedback::parse(Ssrc(1), Ssrc(2), body).map(|f| f.packets().count());
        let head = |count: u16| [[0, 1], count.to_be_bytes(), [0xff, 0xff], [0xfe, 3]].concat();
        let with = |count, rest: &[u8]| [head(count), rest.to_vec()].concat();
        assert_eq!(parse(&head(0)), Ok(0));
        assert_eq!(
            Feedback::parse(Ssrc(1), Ssrc(2), &head(0))
                .unwrap()
                .reference_time,
            -2
        );
        assert_eq!(parse(&head(1)), Err(RtcpError::Truncated));
        assert_eq!(
            parse(&with(0xffff, &[0x1f, 0xff])),
            Err(RtcpError::Truncated)
        ); // a run of 8191 lost
        assert_eq!(parse(&with(8191, &[0x1f, 0xff])), Ok(8191));
        assert_eq!(parse(&with(3, &[0x20, 3, 1, 1])), Err(RtcpError::Truncated)); // a delta is missing
        assert_eq!(parse(&with(3, &[0x20, 3, 1, 1, 1])), Ok(3));
        assert_eq!(
            parse(&with(3, &[0x60, 3, 1, 1, 1])),
            Err(RtcpError::Malformed)
        ); // the reserved symbol
        assert_eq!(
            parse(&with(3, &[0xff, 0xff, 1, 1, 1])),
            Err(RtcpError::Malformed)
        );
        assert_eq!(parse(&with(1, &[0, 0, 0, 0, 0x20, 1, 9])), Ok(1)); // runs of no packets
    }
}
