//! Many clients with lossy links around one router, in virtual time. Every datagram has a seeded fate, and after each
//! the world judges what the router did with it: exact sets, not tolerances.
//!
//! This file has the frame: time, links, and what the router says. Who comes and goes is in `members`, what clients do
//! in `clients`, what arrives at the router in `judge`, what it does with it in `decisions` and how fast in `pace`, that
//! nothing is unaccounted for in `sum`, and what memory it may hold in `memory_bound`.

mod clients;
mod decisions;
mod judge;
mod link;
mod members;
mod memory_bound;
mod pace;
mod reports;
mod said;
mod sum;

use crate::arrivals::{Arrivals, Opened, Taken};
use crate::client::{KeyedClient, keyed_router};
use crate::ledger::Ledger;
use crate::memory::{self, metered};
use crate::publisher::Publisher;
use crate::sink::Outbox;
use crate::subscription::Subscription;
use crate::world::link::{InFlight, Narrow, Way, Weather, What};
use crate::world::memory_bound::Most;
use crate::world::pace::Pace;
use crate::world::reports::Reports;
use parlour_media::num::{Rng, SeqNo, Ssrc};
use parlour_media::router::Standing;
use parlour_media::rtp::{RtpHeader, is_rtcp, is_rtp_or_rtcp};
use parlour_media::{CloseReason, Command, DropReason, Drops, Event, Router};
use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(1);

/// Participants of a simulation, and the fewest and the most there are while they come and go.
const PARTICIPANTS: usize = 5;
const FEWEST: usize = 2;
const MOST: usize = 6;

/// Milliseconds between two looks at the memory.
const MEMORY_CHECK: u128 = 100;

/// Whoever left is still said to be there, by what is under way, for no longer than this.
const LONGEST_WAY: Duration = Duration::from_millis(100);

struct Participant {
    client: KeyedClient,
    ledger: Ledger,
    /// What of its own SRTP the router has opened.
    opened: Opened,
    /// Addresses that a check has come from.
    known: HashSet<SocketAddr>,
    connected: bool,
    here: bool,
    /// Whether the router said that its transport is closed.
    closed: bool,
    up: Weather,
    down: Weather,
    /// The narrowest place of its way down, where there is one.
    narrow: Option<Narrow>,
    /// What of pictures may leave to it.
    pace: Pace,
    /// When it was told last to send less than it may.
    told_less: Option<Instant>,
    next_check: Instant,
    next_nack: Instant,
    reports: Reports,
}

struct Track {
    publisher: Publisher,
    arrivals: Arrivals,
    /// What came while somebody was there to get it, and when: the router keeps no other. In the order of the coming, and
    /// where in that order each is.
    kept: Vec<(Taken, Instant)>,
    places: BTreeMap<Taken, usize>,
    /// Since when media of it comes without a pause, and when it came last.
    media: Option<(Instant, Instant)>,
    /// Which of the encodings of one picture it is of: those of a publication have consecutive places.
    publication: usize,
    /// Nothing of it is sent until then.
    silent_until: Instant,
    next_clock: Instant,
    /// What its clock showed at the beginning, as it told in that one of its number spaces.
    clock: Option<(u32, u32)>,
    /// By how much its time of day is ahead of everybody else's.
    ahead: Duration,
    /// Since when somebody gets it, and when a keyframe of it was asked for last.
    wanted_since: Option<Instant>,
    asked: Option<Instant>,
    /// Whose it is.
    owner: usize,
    /// Whether the router knows it.
    live: bool,
    next_frame: Instant,
}

/// What a simulation is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A call in which people, tracks and subscriptions come and go, streams start anew, addresses and links change; it
    /// ends when everybody leaves, and a second one follows in the same router.
    Churn,
    /// A call of two who stay, on changing links, with streams that start anew: what is kept of a packet, however little, has time to become more than
    /// the router may hold.
    Endurance,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 2] = [Scenario::Churn, Scenario::Endurance];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Scenario::Churn => "churn",
            Scenario::Endurance => "endurance",
        }
    }
}

/// What happened in a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How often each sort of thing happened.
    pub tally: BTreeMap<&'static str, u64>,
    /// Of every datagram, drop and event of the router, each with its time: two runs with the same one were the same.
    pub digest: u64,
}

/// Everything there is.
pub struct World {
    now: Instant,
    started: Instant,
    router: Router,
    sink: Outbox,
    rng: Rng,
    order: u64,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    participants: Vec<Participant>,
    addresses: HashMap<SocketAddr, usize>,
    tracks: Vec<Track>,
    /// By the SSRC they have, which is used once in the world.
    subscriptions: BTreeMap<Ssrc, Subscription>,
    next_ssrc: u32,
    publications: usize,
    /// Whether what goes to a peer is fitted into its path; and whether a turn is all of a moment, or one datagram.
    adapts: bool,
    is_batched: bool,
    is_silent: bool,
    /// Where the router's subscriptions stood after the last step, and whether something came for one since.
    standings: Vec<Standing>,
    has_kept: bool,
    /// What the router said in this step, and to whom.
    said: Vec<(usize, Vec<u8>)>,
    /// What the meter showed when the router was new, and how many things there were at a time.
    held_by_new: isize,
    most: Most,
    tally: BTreeMap<&'static str, u64>,
    digest: DefaultHasher,
}

/// What the router sent while it worked on one thing: media and retransmissions, plain.
type Sent = Vec<(usize, Vec<u8>)>;

/// The number with these 16 bits that is nearest to the newest.
fn nearest(newest: u64, seq: SeqNo) -> u64 {
    let ahead = i64::from(SeqNo(newest as u16).distance_to(seq));
    newest.checked_add_signed(ahead).expect("a number above 0")
}

impl World {
    /// So many participants; each publishes video and audio and gets everybody else's.
    fn new(seed: u64, participants: usize) -> World {
        assert!(
            memory::is_metered(),
            "the program's global allocator is not parlour_sim::memory::Meter"
        );
        let now = Instant::now();
        let mut rng = Rng::new(seed);
        let (adapts, is_batched) = (rng.below(3) != 0, rng.below(2) == 0);
        let router = metered(|| keyed_router(seed, now, adapts));
        let mut world = World {
            now,
            started: now,
            router,
            sink: Outbox::default(),
            rng,
            order: 0,
            in_flight: BinaryHeap::new(),
            participants: Vec::new(),
            addresses: HashMap::new(),
            tracks: Vec::new(),
            subscriptions: BTreeMap::new(),
            next_ssrc: 1 << 20,
            publications: 0,
            adapts,
            is_batched,
            is_silent: false,
            standings: Vec::new(),
            has_kept: false,
            said: Vec::new(),
            held_by_new: memory::held(),
            most: Most::default(),
            tally: BTreeMap::new(),
            digest: DefaultHasher::new(),
        };
        for _ in 0..participants {
            world.join();
        }
        world
    }

    /// A whole simulation of that long. Returns what happened; panics when a rule is broken.
    pub fn simulate(scenario: Scenario, seed: u64, time: Duration) -> Outcome {
        let mut world = match scenario {
            Scenario::Churn => {
                let mut world = World::new(seed, PARTICIPANTS);
                world.run(time / 2, World::change);
                world.empty();
                for _ in 0..PARTICIPANTS {
                    world.join();
                }
                world.run(time / 2, World::change);
                world
            }
            Scenario::Endurance => {
                let mut world = World::new(seed, FEWEST);
                world.run(time, World::change_little);
                world
            }
        };
        world.finish();
        world.empty();
        Outcome {
            tally: world.tally,
            digest: world.digest.finish(),
        }
    }

    fn count(&mut self, what: &'static str, count: u64) {
        *self.tally.entry(what).or_default() += count;
    }

    /// Notes for the digest what happened just now.
    fn note(&mut self, what: impl Hash) {
        (self.now - self.started, what).hash(&mut self.digest);
    }

    fn command(&mut self, command: Command) {
        let before = self.router.drops().clone();
        let (router, now, sink) = (&mut self.router, self.now, &mut self.sink);
        // The router keeps what a command names: that is made where it is counted.
        metered(|| router.handle_command(now, command.clone(), sink));
        let sent = self.collect();
        assert!(sent.is_empty(), "media out of a command");
        self.settle(&before, Vec::new(), sent, false);
    }

    /// What was dropped since, each as often as it was.
    fn dropped(&self, before: &Drops) -> Vec<DropReason> {
        let after = self.router.drops().iter();
        after
            .flat_map(|(reason, count)| {
                std::iter::repeat_n(reason, (count - before.get(reason)) as usize)
            })
            .collect()
    }

    /// Takes what the router said and sent, and puts it on the links. Returns its media.
    fn collect(&mut self) -> Sent {
        while let Some(event) = metered(|| self.router.poll_event()) {
            self.note(format!("{event:?}"));
            match event {
                Event::CommandRefused { .. }
                | Event::IngressPoliced { .. }
                | Event::ConnectionsEnded { .. } => panic!("{event:?}"),
                Event::TransportClosed { transport, reason } => {
                    let it = &mut self.participants[transport.0 as usize - 1];
                    let is_due = !it.here && !it.closed && reason == CloseReason::Removed;
                    assert!(is_due, "{event:?}");
                    it.closed = true;
                }
                Event::ConsumerSource {
                    consumer, source, ..
                } => {
                    let of = Ssrc(consumer.0 as u32);
                    if let Some(subscription) = self.subscriptions.get_mut(&of) {
                        subscription.told = source;
                    }
                }
                Event::TransportConnected { .. }
                | Event::ProducerStarted { .. }
                | Event::ProducerLevel { .. }
                | Event::PathSilent { .. } => {}
            }
        }
        let mut media = Vec::new();
        for (path, datagram) in self.sink.drain() {
            self.note((path.remote, &datagram));
            let who = *self
                .addresses
                .get(&path.remote)
                .unwrap_or_else(|| panic!("a datagram to {path}, where nobody is"));
            let mut which = None;
            if is_rtp_or_rtcp(&datagram) {
                let plain = self.participants[who].ledger.enter(&datagram);
                if is_rtcp(&datagram) {
                    self.said.extend(plain.map(|plain| (who, plain)));
                } else {
                    which = plain.as_ref().and_then(|plain| self.place(who, plain));
                    // What comes again bit for bit is a repair: the ledger has compared it.
                    media.push((who, plain.unwrap_or_default()));
                }
            }
            self.launch(who, Way::Down(path.remote, which), datagram);
        }
        media
    }

    /// Which packet of which subscription that is.
    fn place(&self, who: usize, plain: &[u8]) -> Option<(Ssrc, u64)> {
        let header = RtpHeader::parse(plain).expect("RTP");
        let subscription = self.subscriptions.get(&header.ssrc)?;
        assert_eq!(
            subscription.subscriber, who,
            "{:?} goes to another subscriber",
            header.ssrc
        );
        Some((header.ssrc, self.unwrap_out(header.ssrc, header.seq)))
    }

    /// The number of a subscription that a sequence number stands for: the nearest to the newest.
    fn unwrap_out(&self, of: Ssrc, seq: SeqNo) -> u64 {
        let newest = self.subscriptions[&of].sent.last_key_value();
        nearest(newest.map_or(u64::from(seq.0), |(newest, _)| *newest), seq)
    }

    fn launch(&mut self, who: usize, way: Way, datagram: Vec<u8>) {
        let weather = match way {
            Way::Up(..) => self.participants[who].up,
            Way::Down(..) => self.participants[who].down,
        };
        let (way, datagram) = match self.narrow(who, way, datagram) {
            Some(through) => through,
            None => return,
        };
        self.travel(who, weather, way, datagram);
    }

    /// A datagram is on a link, behind whatever is narrow there.
    fn travel(&mut self, who: usize, weather: Weather, way: Way, datagram: Vec<u8>) {
        if self.rng.below(1000) < weather.loss {
            self.count("lost on a link", 1);
            if let Way::Down(_, Some(which)) = way {
                self.lose(which);
            }
            return;
        }
        let copies = 1 + u64::from(self.rng.below(1000) < weather.duplication);
        for copy in 0..copies {
            let delay = weather.delay + self.rng.below(weather.jitter + 1);
            self.order += 1;
            let way = match &way {
                Way::Up(source, what) => Way::Up(*source, what.clone()),
                Way::Down(to, which) => Way::Down(*to, which.filter(|_| copy == 0)),
            };
            self.in_flight.push(Reverse(InFlight {
                at: (self.now + Duration::from_millis(delay), self.order),
                who,
                way,
                datagram: datagram.clone(),
            }));
        }
    }

    /// A packet of a subscription is lost on its link.
    fn lose(&mut self, (of, out): (Ssrc, u64)) {
        if let Some(subscription) = self.subscriptions.get_mut(&of) {
            subscription.lost.insert(out);
        }
    }

    fn send(&mut self, who: usize, what: What, datagram: Vec<u8>) {
        let source = self.participants[who].client.address;
        self.launch(who, Way::Up(source, what), datagram);
    }

    /// Lets time pass; five times a second `change` is called.
    fn run(&mut self, time: Duration, change: fn(&mut World)) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            while self
                .in_flight
                .peek()
                .is_some_and(|Reverse(first)| first.at.0 <= self.now)
            {
                let Reverse(first) = self.in_flight.pop().expect("it is there");
                self.arrive(first);
            }
            self.leave_narrow();
            if self.router.next_timeout().is_some_and(|at| at <= self.now) {
                let before = self.router.drops().clone();
                let (router, now, sink) = (&mut self.router, self.now, &mut self.sink);
                metered(|| router.handle_timeout(now, sink));
                let sent = self.collect();
                self.settle(&before, Vec::new(), sent, true);
            }
            self.judge_sources();
            if !self.is_silent {
                self.publish_frames();
            }
            for who in 0..self.participants.len() {
                self.live(who);
            }
            if self.rng.below(200) == 0 {
                change(self);
            }
            if self.millisecond().is_multiple_of(MEMORY_CHECK) {
                self.check_memory();
                self.judge_holes();
            }
        }
    }

    fn millisecond(&self) -> u128 {
        (self.now - self.started).as_millis()
    }
}
