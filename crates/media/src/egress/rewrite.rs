//! How a subscriber sees one unbroken stream whatever its source does: pauses, restarts, probes with
//! padding, another SSRC. Only numbers are looked at here; a packet is forwarded at most once.

use crate::egress::history::History;
use crate::ingress::track::SenderClock;
use crate::reasons::DropReason;
use crate::wire::num::{ExtSeqNo, RtpTime, SeqNo};
use std::time::Instant;

/// How far the clocks of two senders may lead from the time that passed here, in tenths of a second: further apart, one of
/// them is wrong.
const PLAUSIBLE_TENTHS: u32 = 5;

/// What the rewriter needs to know of an incoming packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Which of the producer's streams it belongs to.
    pub(crate) epoch: u32,
    pub(crate) ext: ExtSeqNo,
    pub(crate) timestamp: RtpTime,
    /// Whether a decoder can begin here.
    pub(crate) starts: bool,
    /// Why it is not sent, if it is not: it is padding, or of a layer that the subscriber does not get. It has no number
    /// then, and what follows closes up.
    pub(crate) left_out: Option<DropReason>,
}

/// The numbers a packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) ext: ExtSeqNo,
    pub(crate) timestamp: RtpTime,
    /// Whether the subscriber begins with it, and so lacks what came before it and belongs behind it.
    pub(crate) begins: bool,
}

/// The state of one rewritten stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    clock_rate: u32,
    flowing: bool,
    epoch: u32,
    highest_in: u64,
    /// One above the newest that was sent.
    next_out: u64,
    history: History,
    timestamp_shift: u32,
    newest_timestamp: Option<(RtpTime, Instant)>,
    /// The packet it began with, while an earlier one of the same frame may still take its place.
    began: Option<(u64, RtpTime)>,
    /// Whether the next packet is another source's, and how far its timestamps are to be shifted by the clocks of both
    /// senders, where these are known.
    changed: Option<Option<u32>>,
}

impl Rewriter {
    /// `first` should be below 2^15, so that a receiver that misses the first packets does not guess a
    /// wrong rollover counter (RFC 3711 §3.3.1).
    pub(crate) fn new(clock_rate: u32, first: u16, timestamp_shift: u32) -> Self {
        Rewriter {
            clock_rate,
            flowing: false,
            epoch: 0,
            highest_in: 0,
            next_out: u64::from(first),
            history: History::default(),
            timestamp_shift,
            newest_timestamp: None,
            began: None,
            changed: None,
        }
    }

    /// The next packet that is forwarded must be one that a decoder can begin with.
    pub(crate) fn stop(&mut self) {
        self.flowing = false;
    }

    /// Another source follows: what comes next begins anew, on a time line of its own. `clocks` are the pairs of the last
    /// sender reports of both, the one before and the one that follows: they tell what was captured at the same time.
    pub(crate) fn change_source(&mut self, clocks: Option<[SenderClock; 2]>) {
        let shift = clocks.filter(|_| self.flowing).map(|[before, after]| {
            let later = i128::from(after.ntp.wrapping_sub(before.ntp).cast_signed());
            let ticks = (later * i128::from(self.clock_rate)) >> 32;
            let distance = before.rtp.0.wrapping_sub(after.rtp.0);
            let shift = self.timestamp_shift.wrapping_add(distance);
            shift.wrapping_add(ticks as u32)
        });
        self.flowing = false;
        self.changed = Some(shift);
    }

    /// A number stands for nothing but itself: what belongs there is not sent.
    pub(crate) fn empty(&mut self, number: ExtSeqNo) {
        self.history.empty(number.0);
    }

    /// Whether a number stands for nothing but itself.
    pub(crate) fn is_emptied(&self, number: ExtSeqNo) -> bool {
        self.history.is_emptied(number.0)
    }

    /// The next number that is given out.
    pub(crate) fn next_number(&self) -> ExtSeqNo {
        ExtSeqNo(self.next_out)
    }

    /// Whether nothing was sent under a higher number.
    pub(crate) fn is_newest(&self, number: ExtSeqNo) -> bool {
        number.0 + 1 == self.next_out
    }

    /// Whether a packet has begun it, and nothing has stopped it since.
    pub(crate) fn is_flowing(&self) -> bool {
        self.flowing
    }

    /// Whether it waits for a packet to begin with, or will when the stream `epoch` comes.
    pub(crate) fn is_waiting(&self, epoch: u32) -> bool {
        !self.flowing || self.epoch != epoch
    }

    /// The newest timestamp that was sent.
    pub(crate) fn newest_timestamp(&self) -> RtpTime {
        self.newest_timestamp
            .map_or(RtpTime(0), |(newest, _)| newest)
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
        let begins = self.is_waiting(packet.epoch);
        if begins {
            if packet.left_out == Some(DropReason::PaddingOnly) {
                return Err(DropReason::PaddingOnly);
            }
            if !packet.starts {
                return Err(DropReason::AwaitingKeyframe);
            }
            self.start(now, packet);
            self.began = Some((packet.ext.0, packet.timestamp));
        }
        let number = packet.ext.0;
        let ext = if number > self.highest_in {
            // What is missing has its numbers kept for it; what is left out gets none, and what follows closes up.
            self.history.push_all(self.highest_in + 1..number);
            self.highest_in = number;
            if let Some(reason) = packet.left_out {
                return Err(reason);
            }
            self.history.push(number)
        } else {
            match self.history.number_of(number) {
                // Its number was kept for it before it was known that nobody needs it.
                Some(given) => given,
                None => return self.begin_earlier(now, packet),
            }
        };
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
            begins,
        })
    }

    /// A packet from before the start. A slice may overtake the parameter sets of its own keyframe, without which it
    /// is worth nothing: then all begins anew with them, once, so that no sender multiplies what it sends.
    fn begin_earlier(&mut self, now: Instant, packet: Incoming) -> Result<Outgoing, DropReason> {
        match self.began.take_if(|(number, time)| {
            packet.starts && packet.ext.0 < *number && packet.timestamp == *time
        }) {
            None => Err(DropReason::BeforeStart),
            Some(_) => {
                self.stop();
                let out = self.rewrite(now, packet);
                self.began = None;
                out
            }
        }
    }

    /// Begins, or begins again, with this packet: its numbers follow what was sent last.
    fn start(&mut self, now: Instant, packet: Incoming) {
        let changed = self.changed.take();
        let same_stream = self.epoch == packet.epoch && changed.is_none();
        self.flowing = true;
        self.epoch = packet.epoch;
        self.history.restart(self.next_out);
        self.history.push(packet.ext.0);
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
        let mut due = newest.wrapping_add((elapsed as u64 as u32).max(1));
        if let Some(shift) = changed.flatten() {
            // Exact, if the clocks are right: then no more than the delay of the network lies between the two.
            let captured = packet.timestamp.wrapping_add(shift);
            let apart = captured.distance_to(due).unsigned_abs();
            if apart <= self.clock_rate * PLAUSIBLE_TENTHS / 10 {
                let soonest = newest.wrapping_add(1);
                due = if captured.newer_than(newest) {
                    captured
                } else {
                    soonest
                };
            }
        }
        self.timestamp_shift = due.0.wrapping_sub(packet.timestamp.0);
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
        let source = self.history.source_of(out)?;
        Some((ExtSeqNo(source), ExtSeqNo(out), self.timestamp_shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::history::RING;
    use crate::wire::num::Rng;
    use std::collections::HashMap;
    use std::time::Duration;

    fn packet(epoch: u32, number: u64, starts: bool) -> Incoming {
        Incoming {
            epoch,
            ext: ExtSeqNo(number),
            timestamp: RtpTime(number as u32 * 10),
            starts,
            left_out: None,
        }
    }

    fn padding(number: u64) -> Incoming {
        Incoming {
            left_out: Some(DropReason::PaddingOnly),
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
                timestamp: RtpTime(600 + 500),
                begins: true,
            }
        );
    }

    #[test]
    fn a_packet_of_the_first_frame_that_was_overtaken_begins_it_anew_and_only_once() {
        let now = Instant::now();
        let mut rewriter = Rewriter::new(90_000, 1000, 0);
        let of_frame = |number| Incoming {
            timestamp: RtpTime(70),
            ..packet(0, number, true)
        };
        let mut out = |packet| {
            rewriter
                .rewrite(now, packet)
                .map(|it| (it.ext.0, it.begins))
        };
        assert_eq!(out(of_frame(7)), Ok((1000, true)));
        assert_eq!(out(packet(0, 8, false)), Ok((1001, false)));
        let other_frame = out(packet(0, 5, true));
        assert_eq!(other_frame, Err(DropReason::BeforeStart));
        let no_start = Incoming {
            starts: false,
            ..of_frame(6)
        };
        assert_eq!(out(no_start), Err(DropReason::BeforeStart));
        assert_eq!(out(of_frame(6)), Ok((1002, true)));
        assert_eq!(out(of_frame(7)), Ok((1003, false)));
        assert_eq!(out(of_frame(5)), Err(DropReason::BeforeStart));
    }

    /// However much is left out, as layers will be, and whatever is lost or late: numbers are given in the order of the
    /// source to all that is not left out, and each inside the ring leads back to its packet, and none outside of it.
    #[test]
    fn numbers_have_no_gap_and_lead_back_to_their_packets_inside_the_ring_and_nowhere_else() {
        for seed in 0..100 {
            let (mut rng, now) = (Rng::new(seed), Instant::now());
            let first = (rng.next_u32() & 0x7fff) as u16;
            let mut rewriter = Rewriter::new(90_000, first, 0);
            let mut number = 0x1_0000 + rng.below(0x2_0000);
            let left_out = 1 + rng.below(7);
            // What is to be numbered, in order, and whether it came already; and how much of it is numbered: what is
            // lost, once something follows it.
            let mut numbered = vec![(number, true)];
            let (mut end, mut newest) = (1, 0);
            rewriter.rewrite(now, packet(0, number, true)).unwrap();
            for _ in 0..4000 {
                number += 1;
                match rng.below(8) {
                    sort if sort < left_out => {
                        let dropped = rewriter.rewrite(now, padding(number));
                        assert_eq!(dropped, Err(DropReason::PaddingOnly));
                        end = numbered.len();
                    }
                    7 => numbered.push((number, false)),
                    _ => {
                        newest = numbered.len();
                        let out = rewriter.rewrite(now, packet(0, number, false)).unwrap();
                        assert_eq!(out.ext.0, u64::from(first) + newest as u64);
                        numbered.push((number, true));
                        end = numbered.len();
                    }
                }
                let remembered = end.saturating_sub(RING as usize)..end;
                let number_of = |at: usize| ExtSeqNo(u64::from(first) + at as u64);
                let at = rng.below(end as u64) as usize;
                if !numbered[at].1 {
                    let late = rewriter.rewrite(now, packet(0, numbered[at].0, false));
                    let expected = remembered.contains(&at).then(|| number_of(at));
                    assert_eq!(late.ok().map(|it| it.ext), expected, "seed {seed}");
                    numbered[at].1 = true;
                    if expected.is_some() {
                        newest = newest.max(at);
                    }
                }
                let asked = rng.below(newest as u64 + 20) as usize;
                let found = rewriter.source_of(number_of(asked).seq());
                let expected = remembered.contains(&asked) && asked <= newest;
                let expected = expected.then(|| numbered[asked].0);
                assert_eq!(found.map(|(source, ..)| source.0), expected, "seed {seed}");
            }
            assert!(
                numbered.len() > 400,
                "seed {seed}: the scenario numbers something"
            );
        }
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
                    left_out: (rng.below(8) == 0).then_some(DropReason::PaddingOnly),
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
                    if incoming.left_out.is_none() {
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
