//! What an estimate does to a path: a sender that obeys its estimate and a receiver that reports, at the ends of a [`Bottleneck`](crate::Bottleneck).

use crate::bottleneck::{Bottleneck, Conditions};
use parlour_media::congestion::Bandwidth;
use parlour_media::num::{Rng, Ssrc};
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::twcc::TwccRecorder;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two feedbacks.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);

/// Packets of a frame follow each other at this many times the estimate, as a pacer lets them.
const PACED: f64 = 1.5;
const FRAME: Duration = Duration::from_micros(33_333);
const PACKET: usize = 1_200;
/// Of small frames too.
const LEAST_PACKET: usize = 100;

/// What comes back to the sender, which a test may lose, repeat, reorder or forge.
pub type Feedback = Box<dyn FnMut(Vec<u8>, &mut Rng) -> Vec<Vec<u8>>>;

/// Both ends.
pub struct Flow {
    /// What is tested.
    pub bandwidth: Bandwidth,
    /// What the application has to send at most, in bits a second.
    pub limit: u64,
    /// Whether it sends padding to find out whether there is more.
    pub probes: bool,
    /// What becomes of each feedback.
    pub feedback: Feedback,
    /// Of what was ignored in it.
    pub never_sent: u64,
    started: Instant,
    recorder: TwccRecorder,
    rng: Rng,
    next_frame: Duration,
    waiting: VecDeque<usize>,
    credit: f64,
    probe: Option<(u8, f64, usize, f64)>,
    next_feedback: Duration,
    back: VecDeque<(Duration, Vec<u8>)>,
    last_tick: Duration,
}

impl Flow {
    /// One that has sent nothing yet.
    pub fn new(seed: u64) -> Flow {
        let mut bandwidth = Bandwidth::default();
        bandwidth.expect_feedback();
        Flow {
            bandwidth,
            limit: u64::MAX,
            probes: false,
            feedback: Box::new(|feedback, _| vec![feedback]),
            never_sent: 0,
            started: Instant::now(),
            recorder: TwccRecorder::new(),
            rng: Rng::new(seed),
            next_frame: Duration::ZERO,
            waiting: VecDeque::new(),
            credit: 0.0,
            probe: None,
            next_feedback: Duration::ZERO,
            back: VecDeque::new(),
            last_tick: Duration::ZERO,
        }
    }

    /// One millisecond of sending: the numbers and sizes of the packets that go out.
    pub fn send(&mut self, now: Duration) -> Vec<(u16, usize)> {
        let at = self.started + now;
        if now >= self.last_tick + Duration::from_millis(500) {
            self.last_tick = now;
            self.bandwidth.on_tick(at);
        }
        let rate = self.bandwidth.estimate().min(self.limit) as f64;
        if now >= self.next_frame {
            // What a pacer did not get rid of for a frame is the allocator's fault and not of this.
            self.waiting.clear();
            self.next_frame += FRAME;
            let mut frame = (rate * FRAME.as_secs_f64() / 8.0) as usize;
            while frame > 0 {
                let packet = frame.clamp(LEAST_PACKET, PACKET);
                self.waiting.push_back(packet);
                frame = frame.saturating_sub(packet);
            }
        }
        let mut sent = Vec::new();
        self.credit = (self.credit + rate * PACED / 8e3).min(2.0 * PACKET as f64);
        if self.probes && self.probe.is_none() {
            self.bandwidth.set_wanted(Some(self.limit));
            if let Some(probe) = self.bandwidth.wants_probe(at) {
                let per_step = probe.bits_per_second as f64 / 8e3;
                self.probe = Some((probe.cluster, per_step, probe.bytes, 0.0));
            }
        }
        if let Some((cluster, per_step, mut left, mut credit)) = self.probe.take() {
            credit += per_step;
            while credit >= PACKET as f64 && left > 0 {
                credit -= PACKET as f64;
                left = left.saturating_sub(PACKET);
                self.waiting.pop_front();
                sent.push(self.pass(at, PACKET, Some(cluster)));
            }
            if left > 0 {
                self.probe = Some((cluster, per_step, left, credit));
            }
            return sent;
        }
        while let Some(bytes) = self.waiting.front().copied().filter(|_| self.credit > 0.0) {
            self.waiting.pop_front();
            self.credit -= bytes as f64;
            sent.push(self.pass(at, bytes, None));
        }
        sent
    }

    fn pass(&mut self, at: Instant, bytes: usize, probe: Option<u8>) -> (u16, usize) {
        let number = self.bandwidth.next_number();
        self.bandwidth.on_sent(at, Some(number), bytes, probe);
        (number.0, bytes)
    }

    /// A packet came to the receiver.
    pub fn arrive(&mut self, number: u16, at: Duration) {
        self.recorder.on_packet(number, Duration::from_secs(1) + at);
    }

    /// One millisecond of the receiver's reports, which take so long.
    pub fn report(&mut self, now: Duration, delay: Duration) {
        if now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK_INTERVAL;
            let mut buf = [0; 1200];
            while let Some(len) = self.recorder.build(&mut buf, Ssrc(1), Ssrc(2)) {
                for packet in (self.feedback)(buf[..len].to_vec(), &mut self.rng) {
                    self.back.push_back((now + delay, packet));
                }
            }
        }
        while self.back.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, packet)) = self.back.pop_front() {
                self.hear(now, &packet);
            }
        }
    }

    /// Feedback comes to the sender.
    pub fn hear(&mut self, now: Duration, packet: &[u8]) {
        if let Some(Ok(Rtcp::Twcc(feedback))) = parse_compound(packet).next() {
            let ignored = self.bandwidth.on_feedback(self.started + now, &feedback);
            self.never_sent += ignored.never_sent;
        }
    }
}

/// How long feedback takes to come back.
const WAY_BACK: Duration = Duration::from_millis(20);

/// A packet that came through: when, how many bytes, how long it waited, and whose it is.
type Delivered = (Duration, usize, Duration, usize);

/// Flows over one bottleneck, and what became of what they sent.
pub struct Run {
    /// The link.
    pub link: Bottleneck<(usize, u16)>,
    /// The flows, each with when it begins.
    pub flows: Vec<(Duration, Flow)>,
    /// What the first flow's estimate was, every 50 ms.
    pub estimates: Vec<(Duration, u64)>,
    delivered: Vec<Delivered>,
    now: Duration,
}

impl Run {
    /// These flows, which have not begun.
    pub fn new(conditions: Conditions, flows: Vec<(Duration, Flow)>, seed: u64) -> Run {
        Run {
            link: Bottleneck::new(conditions, seed),
            flows,
            estimates: Vec::new(),
            delivered: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// One flow that always has something to send.
    pub fn alone(conditions: Conditions, seed: u64) -> Run {
        Run::new(conditions, vec![(Duration::ZERO, Flow::new(seed))], seed)
    }

    /// Goes on until then.
    pub fn until(&mut self, end: Duration) {
        while self.now < end {
            self.step();
            self.now += Duration::from_millis(1);
        }
    }

    fn step(&mut self) {
        let (now, count) = (self.now, self.flows.len());
        let turn = now.as_millis() as usize;
        for at in (0..count).map(|at| (at + turn) % count) {
            let (begins, flow) = &mut self.flows[at];
            if now >= *begins {
                for (number, bytes) in flow.send(now) {
                    self.link.send(now, bytes, (at, number));
                }
            }
        }
        while let Some(arrival) = self.link.receive(now) {
            let (at, number) = arrival.packet;
            self.flows[at].1.arrive(number, arrival.at);
            self.delivered
                .push((arrival.at, arrival.bytes, arrival.waited, at));
        }
        for (_, flow) in &mut self.flows {
            flow.report(now, WAY_BACK);
        }
        if turn.is_multiple_of(50) {
            let estimate = self.flows[0].1.bandwidth.estimate();
            self.estimates.push((now, estimate));
        }
    }

    fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Delivered> {
        self.delivered
            .iter()
            .filter(move |it| (from..to).contains(&it.0))
    }

    /// The share of the link that was used, by one flow or by all.
    pub fn utilisation(&self, from: Duration, to: Duration, flow: Option<usize>) -> f64 {
        let of = self.between(from, to);
        let of = of.filter(|it| flow.is_none_or(|flow| it.3 == flow));
        let bits = 8 * of.map(|it| it.1).sum::<usize>();
        bits as f64 / self.link.conditions.capacity(from, to)
    }

    /// How long packets waited in the queue at most, but for that share of them.
    pub fn waited(&self, from: Duration, to: Duration, but: f64) -> Duration {
        let mut waited: Vec<_> = self.between(from, to).map(|it| it.2).collect();
        waited.sort_unstable();
        let at = (waited.len() as f64 * (1.0 - but)) as usize;
        let at = at.min(waited.len().saturating_sub(1));
        waited.get(at).copied().unwrap_or_default()
    }

    /// The first flow's estimates from then to then.
    pub fn estimated(&self, from: Duration, to: Duration) -> impl Iterator<Item = u64> {
        let of = self.estimates.iter();
        let of = of.filter(move |(at, _)| (from..to).contains(at));
        of.map(|(_, estimate)| *estimate)
    }
}
