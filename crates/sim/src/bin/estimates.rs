//! Our estimate beside str0m's on the same links: `cargo run --release -p parlour-sim --bin estimates [-- --json FILE]`.
//! Prints what share of each link either used, how long packets waited in its queue, and how much was lost there.
//!
//! Both send frames at what they estimate. str0m brings its own pacer and probes with padding; ours is told once without
//! and once with probing.

use parlour_sim::{Bottleneck, Conditions, Flow, Run};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpOffer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// How long each link is used, and from when on it counts.
const END: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(5);

const START: u64 = parlour_media::congestion::START;
const MOST: u64 = parlour_media::congestion::MOST;
const WAY_BACK: Duration = Duration::from_millis(20);
const STEP: Duration = Duration::from_millis(1);
const FRAME: Duration = Duration::from_micros(33_333);
const PAYLOAD: usize = 1_100;

/// What came of a link.
struct Outcome {
    used: f64,
    median: Duration,
    most: Duration,
    overflowed: u64,
}

/// One of both ends.
struct End {
    rtc: Rtc,
    at: std::net::SocketAddr,
    inbox: VecDeque<(Duration, Vec<u8>)>,
    connected: bool,
}

impl End {
    fn new(host: u8, now: Instant, estimates: bool) -> End {
        let at = std::net::SocketAddr::from(([192, 0, 2, host], 5000));
        let mut config = RtcConfig::new()
            .set_rtp_mode(true)
            .set_crypto_provider(str0m::crypto::from_feature_flags().into());
        if estimates {
            config = config.enable_bwe(Some(Bitrate::from(START)));
        }
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(at, "udp").expect("an address"));
        End {
            rtc,
            at,
            inbox: VecDeque::new(),
            connected: false,
        }
    }

    fn take(&mut self, now: Instant, from: std::net::SocketAddr, datagram: &[u8]) {
        let receive = Receive::new(Protocol::Udp, from, self.at, datagram).expect("a datagram");
        self.rtc
            .handle_input(Input::Receive(now, receive))
            .expect("it lives");
    }
}

/// str0m at both ends of a link.
struct Rival {
    started: Instant,
    now: Duration,
    ends: [End; 2],
    link: Bottleneck<Vec<u8>>,
    mid: Mid,
    estimate: u64,
    next_frame: Duration,
    sequence: u64,
    delivered: Vec<(Duration, usize, Duration)>,
}

impl Rival {
    fn new(conditions: Conditions) -> Rival {
        let started = Instant::now();
        let mut ends = [End::new(1, started, true), End::new(2, started, false)];
        let mut change = ends[0].rtc.sdp_api();
        let mid = change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = change.apply().expect("something to offer");
        let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string()).expect("our own");
        let answer = ends[1]
            .rtc
            .sdp_api()
            .accept_offer(offer)
            .expect("an answer");
        let accepted = ends[0].rtc.sdp_api().accept_answer(pending, answer);
        accepted.expect("an answer that fits");
        Rival {
            started,
            now: Duration::ZERO,
            ends,
            link: Bottleneck::new(conditions, 1),
            mid,
            estimate: START,
            next_frame: Duration::ZERO,
            sequence: 0,
            delivered: Vec::new(),
        }
    }

    /// Connects over a link without bounds, then uses the one in question.
    fn run(mut self) -> Outcome {
        let wide = Conditions::steady(1_000_000_000);
        let conditions = std::mem::replace(&mut self.link.conditions, wide);
        while !self.ends.iter().all(|end| end.connected) && self.now < END {
            self.step();
        }
        let begun = self.now;
        let mut conditions = conditions;
        for (since, _) in conditions.rates.iter_mut().skip(1) {
            *since += begun;
        }
        self.link.conditions = conditions;
        self.ends[0]
            .rtc
            .bwe()
            .set_bitrate(Bitrate::from(0), Bitrate::from(MOST));
        self.delivered.clear();
        self.next_frame = self.now;
        while self.now < begun + END {
            self.film();
            self.step();
        }
        outcome(&self.delivered, &self.link, begun)
    }

    fn film(&mut self) {
        if self.now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        let mut frame = (self.estimate as f64 * FRAME.as_secs_f64() / 8.0) as usize;
        let time = (self.now.as_millis() * 90) as u32;
        let at = self.started + self.now;
        let rtc = &mut self.ends[0].rtc;
        let pt = rtc
            .media(self.mid)
            .and_then(|it| it.remote_pts().first().copied());
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(self.mid, None) else {
            return;
        };
        while let Some(pt) = pt.filter(|_| frame > 0) {
            let payload = vec![0x55; frame.clamp(50, PAYLOAD)];
            frame = frame.saturating_sub(payload.len());
            self.sequence += 1;
            let write = RtpWrite::new(pt, self.sequence.into(), time, at, payload);
            stream.write_rtp(write.marker(frame == 0).nackable(false));
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let at = self.started + self.now;
        let places = [self.ends[0].at, self.ends[1].at];
        while let Some(arrival) = self.link.receive(self.now) {
            self.delivered
                .push((arrival.at, arrival.bytes, arrival.waited));
            self.ends[1].take(self.started + arrival.at, places[0], &arrival.packet);
        }
        while self.ends[0]
            .inbox
            .front()
            .is_some_and(|it| it.0 <= self.now)
        {
            if let Some((_, datagram)) = self.ends[0].inbox.pop_front() {
                self.ends[0].take(at, places[1], &datagram);
            }
        }
        for of in [0, 1] {
            self.ends[of]
                .rtc
                .handle_input(Input::Timeout(at))
                .expect("it lives");
            self.poll(of);
        }
    }

    fn poll(&mut self, of: usize) {
        loop {
            match self.ends[of].rtc.poll_output().expect("it lives") {
                Output::Timeout(next) => {
                    // Its pacer wants to be called more often than each millisecond.
                    if next > self.started + self.now {
                        return;
                    }
                    let now = self.started + self.now;
                    self.ends[of]
                        .rtc
                        .handle_input(Input::Timeout(now))
                        .expect("it lives");
                }
                Output::Transmit(transmit) if of == 0 => {
                    let datagram = transmit.contents.to_vec();
                    self.link.send(self.now, datagram.len(), datagram);
                }
                Output::Transmit(transmit) => {
                    let datagram = transmit.contents.to_vec();
                    self.ends[0]
                        .inbox
                        .push_back((self.now + WAY_BACK, datagram));
                }
                Output::Event(Event::Connected) => self.ends[of].connected = true,
                Output::Event(Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. })) => {
                    self.estimate = estimate.as_u64();
                }
                Output::Event(_) => {}
            }
        }
    }
}

fn outcome<T>(
    delivered: &[(Duration, usize, Duration)],
    link: &Bottleneck<T>,
    begun: Duration,
) -> Outcome {
    let (from, to) = (begun + SETTLED, begun + END);
    let counted = delivered.iter().filter(|it| (from..to).contains(&it.0));
    let mut waited: Vec<_> = counted.clone().map(|it| it.2).collect();
    waited.sort_unstable();
    let at = |share: f64| {
        let place = (waited.len() as f64 * share) as usize;
        waited.get(place).copied().unwrap_or_default()
    };
    let bits = 8 * counted.map(|it| it.1).sum::<usize>();
    Outcome {
        used: bits as f64 / link.conditions.capacity(from, to),
        median: at(0.5),
        most: at(0.95),
        overflowed: link.overflowed,
    }
}

fn ours(conditions: Conditions, probes: bool) -> Outcome {
    let mut flow = Flow::new(1);
    flow.probes = probes;
    let mut run = Run::new(conditions, vec![(Duration::ZERO, flow)], 1);
    run.until(END);
    Outcome {
        used: run.utilisation(SETTLED, END, None),
        median: run.waited(SETTLED, END, 0.5),
        most: run.waited(SETTLED, END, 0.05),
        overflowed: run.link.overflowed,
    }
}

/// A link's name, and how to make it: each is used several times.
type Link = (&'static str, fn() -> Conditions);

fn links() -> Vec<Link> {
    const DEEP: usize = 1_000_000;
    fn stepping(rates: [(u64, u64); 2]) -> Conditions {
        let rates = rates.map(|(at, rate)| (Duration::from_secs(at), rate));
        Conditions {
            rates: rates.to_vec(),
            queue: DEEP,
            ..Conditions::steady(0)
        }
    }
    fn of(rate: u64, change: impl Fn(&mut Conditions)) -> Conditions {
        let mut conditions = Conditions::steady(rate);
        change(&mut conditions);
        conditions
    }
    vec![
        ("300 kbit/s", || Conditions::steady(300_000)),
        ("1 Mbit/s", || Conditions::steady(1_000_000)),
        ("3 Mbit/s", || Conditions::steady(3_000_000)),
        ("10 Mbit/s", || Conditions::steady(10_000_000)),
        ("1.5 Mbit/s, deep buffer", || {
            of(1_500_000, |it| it.queue = DEEP)
        }),
        ("2.5 to 0.5 Mbit/s", || {
            stepping([(0, 2_500_000), (20, 500_000)])
        }),
        ("0.5 to 2.5 Mbit/s", || {
            stepping([(0, 500_000), (20, 2_500_000)])
        }),
        ("2 Mbit/s, loss 2 %", || of(2_000_000, |it| it.loss = 20)),
        ("2 Mbit/s, loss 5 %", || of(2_000_000, |it| it.loss = 50)),
        ("2 Mbit/s, loss 10 %", || of(2_000_000, |it| it.loss = 100)),
        ("2 Mbit/s, jitter 30 ms", || {
            of(2_000_000, |it| it.jitter = Duration::from_millis(30))
        }),
        ("2 Mbit/s, 150 ms away", || {
            of(2_000_000, |it| it.delay = Duration::from_millis(150))
        }),
        ("2 Mbit/s, no queue", || {
            of(2_000_000, |it| it.queue = 5_000)
        }),
    ]
}

const WHOSE: [&str; 3] = ["ours", "ours, probing", "str0m"];

impl Outcome {
    fn json(&self) -> String {
        format!(
            r#"{{"used": {:.3}, "waited": {}, "waited95": {}, "overflowed": {}}}"#,
            self.used,
            self.median.as_millis(),
            self.most.as_millis(),
            self.overflowed
        )
    }
}

/// Where the figures are to be kept.
fn json_file() -> Option<String> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => None,
        Some("--json") => Some(arguments.next().expect("--json FILE")),
        Some(other) => panic!("{other} is nothing that this program knows; it knows --json FILE"),
    }
}

fn main() {
    let file = json_file();
    let mut kept = Vec::new();
    println!("used, median and 95 % of milliseconds waited, packets that found the queue full");
    println!("{:26}{:>28}{:>28}{:>28}", "", WHOSE[0], WHOSE[1], WHOSE[2]);
    for (name, conditions) in links() {
        let outcomes = [
            ours(conditions(), false),
            ours(conditions(), true),
            Rival::new(conditions()).run(),
        ];
        let members = WHOSE.iter().zip(&outcomes);
        let members = members.map(|(whose, it)| format!(r#""{whose}": {}"#, it.json()));
        let members: Vec<_> = members.collect();
        kept.push(format!(
            r#"    {{"link": "{name}", {}}}"#,
            members.join(", ")
        ));
        let told = outcomes.map(|it| {
            format!(
                "{:.0} % {:>5} {:>5} {:>6}",
                100.0 * it.used,
                it.median.as_millis(),
                it.most.as_millis(),
                it.overflowed
            )
        });
        println!("{name:26}{:>28}{:>28}{:>28}", told[0], told[1], told[2]);
    }
    if let Some(file) = file {
        let text = format!("{{\n  \"links\": [\n{}\n  ]\n}}\n", kept.join(",\n"));
        std::fs::write(&file, text).expect("the file can be written");
    }
}
