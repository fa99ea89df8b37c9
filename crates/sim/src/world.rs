//! Many clients with lossy links around one router, in virtual time. Every datagram has a seeded fate, and after each
//! the world judges what the router did with it: exact sets, not tolerances.

mod judge;
mod link;
mod reports;
mod sum;

use crate::client::KeyedClient;
use crate::ledger::Ledger;
use crate::publisher::{Arrivals, Publisher};
use crate::sink::Outbox;
use crate::subscription::Subscription;
use crate::world::link::{InFlight, Way, Weather, What};
use crate::world::reports::Reports;
use parlour_media::num::{Rng, SeqNo, Ssrc};
use parlour_media::rtcp;
use parlour_media::rtp::{RtpHeader, is_rtcp, is_rtp_or_rtcp};
use parlour_media::{
    Command, ConsumerId, DropReason, Drops, DtlsCertificate, Event, IngressLimit, Kind, ProducerId,
    Router, RouterConfig,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(1);

pub(crate) struct Participant {
    pub(crate) client: KeyedClient,
    pub(crate) ledger: Ledger,
    /// Addresses that a check has come from.
    pub(crate) known: HashSet<SocketAddr>,
    pub(crate) connected: bool,
    pub(crate) here: bool,
    pub(crate) up: Weather,
    pub(crate) down: Weather,
    pub(crate) next_check: Instant,
    pub(crate) next_nack: Instant,
    pub(crate) reports: Reports,
}

pub(crate) struct Track {
    publisher: Publisher,
    pub(crate) arrivals: Arrivals,
    /// What came while somebody was there to see it: the router keeps no other.
    pub(crate) kept: HashSet<u64>,
    /// Whose it is.
    pub(crate) owner: usize,
    pub(crate) next_frame: Instant,
}

/// Everything there is.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) router: Router,
    pub(crate) sink: Outbox,
    pub(crate) rng: Rng,
    pub(crate) order: u64,
    pub(crate) in_flight: BinaryHeap<Reverse<InFlight>>,
    pub(crate) participants: Vec<Participant>,
    pub(crate) addresses: HashMap<SocketAddr, usize>,
    pub(crate) tracks: Vec<Track>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) next_ssrc: u32,
    pub(crate) is_silent: bool,
    /// What happened, for who reads along.
    pub tally: BTreeMap<&'static str, u64>,
}

/// What the router sent while it worked on one thing: media and retransmissions, plain.
pub(crate) type Sent = Vec<(usize, Vec<u8>)>;

impl World {
    /// So many participants; each publishes video and audio and gets everybody else's.
    pub fn new(seed: u64, participants: usize) -> World {
        let now = Instant::now();
        let router = Router::new(RouterConfig {
            certificate: DtlsCertificate {
                certificate: Vec::new(),
                private_key: Vec::new(),
            },
            seed,
            secret: [seed as u8; 32],
            started: now,
            ingress: IngressLimit::default(),
        });
        let mut world = World {
            now,
            router,
            sink: Outbox::default(),
            rng: Rng::new(seed),
            order: 0,
            in_flight: BinaryHeap::new(),
            participants: Vec::new(),
            addresses: HashMap::new(),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            next_ssrc: 1 << 20,
            is_silent: false,
            tally: BTreeMap::new(),
        };
        for _ in 0..participants {
            world.join();
        }
        world
    }

    /// A whole simulation: five participants on bad links for that long, then a good end. Returns what happened; panics
    /// when a rule is broken.
    pub fn simulate(seed: u64, time: Duration) -> BTreeMap<&'static str, u64> {
        let mut world = World::new(seed, 5);
        world.run(time, true);
        world.finish();
        world.tally
    }

    fn count(&mut self, what: &'static str, count: u64) {
        *self.tally.entry(what).or_default() += count;
    }

    /// One more participant comes.
    fn join(&mut self) {
        let who = self.participants.len();
        let number = who as u64 + 1;
        let client = KeyedClient::join(
            &mut self.router,
            self.now,
            &mut self.sink,
            number,
            &mut self.rng,
        );
        self.addresses.insert(client.address, who);
        self.participants.push(Participant {
            ledger: Ledger::new(client.second_receiver()),
            known: HashSet::new(),
            connected: false,
            here: true,
            up: Weather::random(&mut self.rng),
            down: Weather::random(&mut self.rng),
            next_check: self.now,
            next_nack: self.now,
            reports: Reports::new(self.now),
            client,
        });
        for track in 0..self.tracks.len() {
            if self.participants[self.tracks[track].owner].here {
                self.subscribe(who, track);
            }
        }
        for kind in [Kind::Video, Kind::Audio] {
            let id = ProducerId(2 * number + u64::from(kind == Kind::Audio));
            let spec = self.participants[who].client.producer(id, kind);
            self.command(Command::AddProducer(spec.clone()));
            let ssrc = Ssrc(1000 * number as u32 + if kind == Kind::Audio { 500 } else { 0 });
            let publisher = Publisher::new(spec, ssrc, &mut self.rng);
            let track = self.tracks.len();
            self.tracks.push(Track {
                publisher,
                arrivals: Arrivals::default(),
                kept: HashSet::new(),
                owner: who,
                next_frame: self.now,
            });
            for other in 0..who {
                if self.participants[other].here {
                    self.subscribe(other, track);
                }
            }
        }
    }

    /// A third has no RTX.
    fn subscribe(&mut self, who: usize, track: usize) {
        self.next_ssrc += 2;
        let (ssrc, rtx) = (self.next_ssrc, self.rng.below(3) != 0);
        let spec = self.participants[who].client.consumer(
            ConsumerId(u64::from(ssrc)),
            &self.tracks[track].publisher.spec,
            ssrc,
            rtx,
        );
        self.command(Command::AddConsumer(spec.clone()));
        let before = self.tracks[track].arrivals.came.clone();
        self.subscriptions
            .push(Subscription::new(spec, who, track, before));
    }

    fn command(&mut self, command: Command) {
        let before = self.router.drops().clone();
        self.router
            .handle_command(self.now, command, &mut self.sink);
        self.nothing_but_control(&before);
    }

    /// The router did something that is not about media: it drops nothing and sends nothing but control.
    pub(crate) fn nothing_but_control(&mut self, before: &Drops) {
        let sent = self.collect();
        assert!(sent.is_empty(), "media out of nothing");
        assert_eq!(self.dropped(before), [], "a drop out of nothing");
    }

    /// What was dropped since, each as often as it was.
    pub(crate) fn dropped(&self, before: &Drops) -> Vec<DropReason> {
        let after = self.router.drops().iter();
        after
            .flat_map(|(reason, count)| {
                std::iter::repeat_n(reason, (count - before.get(reason)) as usize)
            })
            .collect()
    }

    /// Takes what the router sent and puts it on the links. Returns its media.
    pub(crate) fn collect(&mut self) -> Sent {
        while let Some(event) = self.router.poll_event() {
            match event {
                Event::CommandRefused { .. } => panic!("{event:?}"),
                Event::TransportClosed { transport, .. } => {
                    let who = transport.0 as usize - 1;
                    assert!(!self.participants[who].here, "{event:?}");
                }
                _ => {}
            }
        }
        let mut media = Vec::new();
        for (path, datagram) in self.sink.drain() {
            let who = *self
                .addresses
                .get(&path.remote)
                .unwrap_or_else(|| panic!("a datagram to {path}, where nobody ever was"));
            let mut which = None;
            if is_rtp_or_rtcp(&datagram) {
                let plain = self.participants[who].ledger.enter(&datagram);
                if !is_rtcp(&datagram) {
                    which = plain.as_ref().and_then(|plain| self.place(who, plain));
                    // What comes again bit for bit is a repair: the ledger has compared it.
                    media.push((who, plain.unwrap_or_default()));
                }
            }
            self.launch(who, Way::Down(path.remote, which), datagram);
        }
        media
    }

    /// Which packet of which subscription that is: the index under which it was sealed is the ledger's newest of it.
    fn place(&self, who: usize, plain: &[u8]) -> Option<(usize, u64)> {
        let header = RtpHeader::parse(plain).expect("RTP");
        let at = self.subscriptions.iter().rposition(|subscription| {
            subscription.subscriber == who && subscription.spec.ssrc == header.ssrc
        })?;
        Some((at, self.unwrap_out(at, header.seq)))
    }

    pub(crate) fn unwrap_out(&self, at: usize, seq: SeqNo) -> u64 {
        let newest = self.subscriptions[at].sent.last_key_value();
        let newest = newest.map_or(u64::from(seq.0), |(newest, _)| *newest);
        let ahead = i64::from(SeqNo(newest as u16).distance_to(seq));
        newest.checked_add_signed(ahead).expect("a number above 0")
    }

    fn launch(&mut self, who: usize, way: Way, datagram: Vec<u8>) {
        let weather = match way {
            Way::Up(..) => self.participants[who].up,
            Way::Down(..) => self.participants[who].down,
        };
        if self.rng.below(1000) < weather.loss {
            self.count("lost on a link", 1);
            if let Way::Down(_, Some((at, out))) = way {
                self.subscriptions[at].lost.insert(out);
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

    pub(crate) fn send(&mut self, who: usize, what: What, datagram: Vec<u8>) {
        let source = self.participants[who].client.address;
        self.launch(who, Way::Up(source, what), datagram);
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration, churn: bool) {
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
            if self.router.next_timeout().is_some_and(|at| at <= self.now) {
                let before = self.router.drops().clone();
                self.router.handle_timeout(self.now, &mut self.sink);
                self.nothing_but_control(&before);
            }
            if !self.is_silent {
                self.publish();
            }
            for who in 0..self.participants.len() {
                self.live(who);
            }
            if churn && self.rng.below(200) == 0 {
                self.change();
            }
        }
    }

    fn publish(&mut self) {
        for track in 0..self.tracks.len() {
            let it = &mut self.tracks[track];
            let who = it.owner;
            if it.next_frame > self.now || !self.participants[who].connected {
                continue;
            }
            let is_video = it.publisher.spec.kind == Kind::Video;
            it.next_frame = self.now + Duration::from_millis(if is_video { 33 } else { 20 });
            for (number, plain) in it.publisher.frame(&mut self.rng) {
                let sealed = self.participants[who].client.seal(&plain, number);
                self.send(who, What::Media(track, number), sealed);
            }
        }
    }

    fn live(&mut self, who: usize) {
        let participant = &mut self.participants[who];
        if !participant.here {
            return;
        }
        if participant.next_check <= self.now {
            participant.next_check = self.now + Duration::from_millis(300);
            let check = participant.client.check();
            self.send(who, What::Stun, check);
        }
        if self.participants[who].connected {
            self.report(who);
        }
        if self.participants[who].next_nack <= self.now {
            self.participants[who].next_nack = self.now + Duration::from_millis(30);
            for at in 0..self.subscriptions.len() {
                if self.subscriptions[at].subscriber == who {
                    self.ask_for_repairs(at);
                }
            }
        }
    }

    /// A subscriber asks for what it misses of the newest numbers; at times for a keyframe.
    fn ask_for_repairs(&mut self, at: usize) {
        let subscription = &self.subscriptions[at];
        if self.tracks[subscription.track].publisher.spec.kind == Kind::Audio {
            return;
        }
        let Some(newest) = subscription.delivered.iter().max().copied() else {
            return;
        };
        let oldest = *subscription
            .sent
            .first_key_value()
            .expect("what came was sent")
            .0;
        let missing = (newest.saturating_sub(60).max(oldest)..newest)
            .filter(|out| {
                !subscription.delivered.contains(out) && !subscription.repaired.contains(out)
            })
            .map(|out| SeqNo(out as u16))
            .collect::<Vec<_>>();
        let (who, media) = (subscription.subscriber, subscription.spec.ssrc);
        let mut buffer = [0; 1400];
        let len = rtcp::write_nack(&mut buffer, Ssrc(9), media, &missing);
        if len > 0 {
            let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
            self.send(who, What::Nack(media, missing.len()), sealed);
        }
        if self.rng.below(200) == 0 {
            let len = rtcp::write_pli(&mut buffer, Ssrc(9), media);
            let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
            self.send(who, What::Rtcp, sealed);
        }
    }

    /// Something changes: the weather, an address, a pause, a subscription, who is there.
    fn change(&mut self) {
        let who = self.rng.below(self.participants.len() as u64) as usize;
        let what = self.rng.below(20);
        if !self.participants[who].here {
            return;
        }
        match what {
            0..6 => {
                self.participants[who].up = Weather::random(&mut self.rng);
                self.participants[who].down = Weather::random(&mut self.rng);
            }
            6..9 => {
                self.count("rebindings", 1);
                let client = &mut self.participants[who].client;
                client.rebind();
                self.addresses.insert(client.address, who);
                self.participants[who].next_check = self.now;
            }
            9..16 => {
                let at = self.rng.below(self.subscriptions.len() as u64) as usize;
                let paused = !self.subscriptions[at].paused;
                let consumer = self.subscriptions[at].spec.consumer;
                self.count("pauses and resumptions", 1);
                self.subscriptions[at].set_paused(paused);
                self.command(Command::SetConsumerPaused { consumer, paused });
            }
            16..19 => {
                let at = self.rng.below(self.subscriptions.len() as u64) as usize;
                let (who, track) = (
                    self.subscriptions[at].subscriber,
                    self.subscriptions[at].track,
                );
                self.count("subscriptions renewed", 1);
                self.end(at);
                self.subscribe(who, track);
            }
            _ => {}
        }
    }

    /// A subscription ends, and its sum is drawn.
    fn end(&mut self, at: usize) {
        let consumer = self.subscriptions[at].spec.consumer;
        self.command(Command::RemoveConsumer { consumer });
        let ended = self.subscriptions.remove(at);
        // What is under way to it is not told of any more.
        let in_flight = std::mem::take(&mut self.in_flight).into_vec();
        self.in_flight = in_flight
            .into_iter()
            .map(|Reverse(mut it)| {
                if let Way::Down(_, Some((of, _))) = &mut it.way {
                    if *of == at {
                        it.way = match it.way {
                            Way::Down(to, _) => Way::Down(to, None),
                            up => up,
                        };
                    } else if *of > at {
                        *of -= 1;
                    }
                }
                Reverse(it)
            })
            .collect();
        self.draw_sum(&ended, false);
    }
}
