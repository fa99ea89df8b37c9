//! How a subscriber sees one unbroken stream whatever its source does: pauses, restarts, probes with
//! padding, another SSRC. Only numbers are looked at here; a packet is forwarded at most once.

use crate::reasons::DropReason;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo};
use std::time::Instant;

/// Places where the distance between incoming and outgoing numbers changed. Late packets and
/// retransmissions from before the oldest one are not served any more.
const MAX_SHIFTS: usize = 32;

/// What the rewriter needs to know of an incoming packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Which of the producer's streams it belongs to.
    pub(crate) epoch: u32,
    pub(crate) ext: ExtSeqNo,
    pub(crate) timestamp: RtpTime,
    /// Whether a decoder can begin here.
    pub(crate) starts: bool,
    /// Whether it is padding without payload.
    pub(crate) empty: bool,
}

/// The numbers a packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) ext: ExtSeqNo,
    pub(crate) timestamp: RtpTime,
}

#[derive(Clone, Copy, Debug)]
struct Shift {
    /// The first incoming number it holds for.
    from: u64,
    /// Outgoing minus incoming.
    by: i64,
}

/// The state of one rewritten stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    clock_rate: u32,
    flowing: bool,
    epoch: u32,
    shifts: Vec<Shift>,
    highest_in: u64,
    next_out: u64,
    timestamp_shift: u32,
    newest_timestamp: Option<(RtpTime, Instant)>,
}

impl Rewriter {
    /// `first` should be below 2^15, so that a receiver that misses the first packets does not guess a
    /// wrong rollover counter (RFC 3711 §3.3.1).
    pub(crate) fn new(clock_rate: u32, first: u16, timestamp_shift: u32) -> Self {
        Rewriter {
            clock_rate,
            flowing: false,
            epoch: 0,
            shifts: Vec::with_capacity(4),
            highest_in: 0,
            next_out: u64::from(first),
            timestamp_shift,
            newest_timestamp: None,
        }
    }

    /// The next packet that is forwarded must be one that a decoder can begin with.
    pub(crate) fn stop(&mut self) {
        self.flowing = false;
    }

    /// Whether it waits for a packet to begin with, or will when the stream `epoch` comes.
    pub(crate) fn is_waiting(&self, epoch: u32) -> bool {
        !self.flowing || self.epoch != epoch
    }

    /// The distance of timestamps, while the stream `epoch` flows.
    pub(crate) fn timestamp_shift(&self, epoch: u32) -> Option<u32> {
        (!self.is_waiting(epoch)).then_some(self.timestamp_shift)
    }

    /// The numbers for a packet, or why it goes no further.
    pub(crate) fn rewrite(
        &mut self,
        now: Instant,
        packet: Incoming,
    ) -> Result<Outgoing, DropReason> {
        if self.is_waiting(packet.epoch) {
            if packet.empty {
                return Err(DropReason::PaddingOnly);
            }
            if !packet.starts {
                return Err(DropReason::AwaitingKeyframe);
            }
            self.start(now, packet);
        }
        let Some(by) = self.shift_of(packet.ext.0) else {
            return Err(DropReason::BeforeStart);
        };
        if packet.ext.0 > self.highest_in {
            self.highest_in = packet.ext.0;
            if packet.empty {
                self.skip(packet.ext.0);
                return Err(DropReason::PaddingOnly);
            }
        }
        let ext = packet.ext.0.saturating_add_signed(by);
        self.next_out = self.next_out.max(ext + 1);
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_shift);
        if self
            .newest_timestamp
            .is_none_or(|(newest, _)| timestamp.newer_than(newest))
        {
            self.newest_timestamp = Some((timestamp, now));
        }
        Ok(Outgoing {
            ext: ExtSeqNo(ext),
            timestamp,
        })
    }

    /// Begins, or begins again, with this packet: its numbers follow what was sent last.
    fn start(&mut self, now: Instant, packet: Incoming) {
        let same_stream = self.epoch == packet.epoch;
        self.flowing = true;
        self.epoch = packet.epoch;
        self.shifts.clear();
        self.shifts.push(Shift {
            from: packet.ext.0,
            by: self.next_out as i64 - packet.ext.0 as i64,
        });
        self.highest_in = packet.ext.0;
        let Some((newest, at)) = self.newest_timestamp else {
            return;
        };
        let carried_on = packet.timestamp.wrapping_add(self.timestamp_shift);
        if same_stream && carried_on.newer_than(newest) {
            return;
        }
        // Another time line: let as much time pass in it as passed here, and at least one tick.
        let elapsed = now.saturating_duration_since(at).as_secs_f64() * f64::from(self.clock_rate);
        let due = newest.wrapping_add((elapsed as u64 as u32).max(1));
        self.timestamp_shift = due.0.wrapping_sub(packet.timestamp.0);
    }

    /// The newest packet is left out: what follows it closes up.
    fn skip(&mut self, number: u64) {
        let Some(last) = self.shifts.last_mut() else {
            return;
        };
        let next = Shift {
            from: number + 1,
            by: last.by - 1,
        };
        if last.from == number {
            *last = next;
            return;
        }
        if self.shifts.len() >= MAX_SHIFTS {
            self.shifts.remove(0);
        }
        self.shifts.push(next);
    }

    fn shift_of(&self, number: u64) -> Option<i64> {
        self.shifts
            .iter()
            .rev()
            .find(|shift| shift.from <= number)
            .map(|shift| shift.by)
    }

    /// Which incoming packet went out under this number, with its outgoing numbers but for the timestamp,
    /// whose distance comes with it. None: none that is still served.
    pub(crate) fn source_of(&self, seq: SeqNo) -> Option<(ExtSeqNo, ExtSeqNo, u32)> {
        let newest = ExtSeqNo(self.next_out.checked_sub(1)?);
        let distance = i64::from(newest.seq().distance_to(seq));
        let out = newest.0.checked_add_signed(distance)?;
        if distance > 0 {
            return None;
        }
        let shift = self
            .shifts
            .iter()
            .rev()
            .find(|shift| shift.from.saturating_add_signed(shift.by) <= out)?;
        Some((
            ExtSeqNo(out.saturating_add_signed(-shift.by)),
            ExtSeqNo(out),
            self.timestamp_shift,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::num::Rng;
    use std::collections::HashMap;
    use std::time::Duration;

    fn packet(epoch: u32, number: u64, starts: bool) -> Incoming {
        Incoming {
            epoch,
            ext: ExtSeqNo(number),
            timestamp: RtpTime(number as u32 * 10),
            starts,
            empty: false,
        }
    }

    fn padding(number: u64) -> Incoming {
        Incoming {
            empty: true,
            ..packet(0, number, false)
        }
    }

    #[test]
    fn it_waits_for_a_start_and_keeps_holes_open_for_late_packets() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 1000, 0);
        assert_eq!(
            rewriter.rewrite(now, packet(0, 5, false)),
            Err(DropReason::AwaitingKeyframe)
        );
        let mut out = |number, starts| {
            rewriter
                .rewrite(now, packet(0, number, starts))
                .map(|out| out.ext.0)
        };
        assert_eq!(out(6, true), Ok(1000));
        assert_eq!(out(8, false), Ok(1002));
        assert_eq!(out(7, false), Ok(1001));
        assert_eq!(out(4, false), Err(DropReason::BeforeStart));
    }

    #[test]
    fn padding_leaves_no_gap_and_late_packets_find_their_place() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 0, 0);
        let mut out = |incoming| rewriter.rewrite(now, incoming).map(|out| out.ext.0).ok();
        assert_eq!(out(packet(0, 10, true)), Some(0));
        assert_eq!(out(padding(12)), None);
        assert_eq!(out(padding(13)), None);
        assert_eq!(out(packet(0, 14, false)), Some(2));
        assert_eq!(out(packet(0, 11, false)), Some(1));
        // Padding that comes after its successors fills the hole that was left for it.
        assert_eq!(out(packet(0, 16, false)), Some(4));
        assert_eq!(out(padding(15)), Some(3));
        for (seq, source) in [(0, 10), (1, 11), (2, 14), (3, 15), (4, 16)] {
            assert_eq!(
                rewriter.source_of(SeqNo(seq)).map(|(source, ..)| source),
                Some(ExtSeqNo(source))
            );
        }
        assert_eq!(rewriter.source_of(SeqNo(5)), None);
        assert_eq!(rewriter.source_of(SeqNo(65535)), None);
    }

    #[test]
    fn a_pause_closes_up_and_keeps_the_time_line() {
        let start = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 7, 500);
        rewriter.rewrite(start, packet(0, 1, true)).unwrap();
        rewriter.stop();
        let later = start + Duration::from_secs(3);
        assert_eq!(
            rewriter.rewrite(later, packet(0, 50, false)),
            Err(DropReason::AwaitingKeyframe)
        );
        let out = rewriter.rewrite(later, packet(0, 60, true)).unwrap();
        assert_eq!(
            out,
            Outgoing {
                ext: ExtSeqNo(8),
                timestamp: RtpTime(600 + 500)
            }
        );
    }

    /// Whatever the source does: every number is used once, the newest numbers have no gap but that of
    /// packets that are missing at the source, and time never runs backwards over a switch.
    #[test]
    fn numbers_are_unique_and_time_is_monotonic_over_pauses_padding_and_new_streams() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut now = Instant::now();
            let first = (rng.next_u32() & 0x7fff) as u16;
            let mut rewriter = Rewriter::new(90_000, first, rng.next_u32());
            let (mut epoch, mut number) = (0, 0x1_0000 + rng.below(0x1_0000));
            let mut media_clock = rng.next_u32();
            let mut used: HashMap<u64, (u32, u64)> = HashMap::new();
            let mut newest: Option<Outgoing> = None;
            let mut delayed: Vec<Incoming> = Vec::new();
            for _ in 0..500 {
                now += Duration::from_millis(10);
                media_clock = media_clock.wrapping_add(900);
                match rng.below(40) {
                    0 => rewriter.stop(),
                    1 => {
                        epoch += 1;
                        number = 0x1_0000 + rng.below(0x1_0000);
                        media_clock = rng.next_u32();
                    }
                    _ => {}
                }
                number += 1;
                let incoming = Incoming {
                    epoch,
                    ext: ExtSeqNo(number),
                    timestamp: RtpTime(media_clock),
                    starts: rng.below(10) == 0,
                    empty: rng.below(8) == 0,
                };
                if rng.below(8) == 0 {
                    delayed.push(incoming);
                    continue;
                }
                let mut batch = vec![incoming];
                if rng.below(4) == 0 {
                    batch.append(&mut delayed);
                }
                for incoming in batch.into_iter().filter(|incoming| incoming.epoch == epoch) {
                    let waiting = rewriter.is_waiting(epoch);
                    let Ok(out) = rewriter.rewrite(now, incoming) else {
                        continue;
                    };
                    assert!(out.ext.0 >= u64::from(first));
                    let clash = used.insert(out.ext.0, (epoch, incoming.ext.0));
                    assert_eq!(clash, None, "seed {seed}: {} used twice", out.ext.0);
                    if !incoming.empty {
                        let source = rewriter.source_of(out.ext.seq()).map(|(source, ..)| source);
                        assert_eq!(source, Some(incoming.ext), "seed {seed}");
                    }
                    if waiting && let Some(newest) = newest {
                        assert_eq!(
                            out.ext.0,
                            newest.ext.0 + 1,
                            "seed {seed}: a gap at a switch"
                        );
                        assert!(
                            out.timestamp.newer_than(newest.timestamp),
                            "seed {seed}: time ran backwards"
                        );
                    }
                    if newest.is_none_or(|newest| out.ext > newest.ext) {
                        newest = Some(out);
                    }
                }
            }
            assert!(
                used.len() > 50,
                "seed {seed}: the scenario forwards something"
            );
        }
    }
}
