//! Who comes and goes in a [`World`], and everything else that changes while a call runs.

use crate::arrivals::{Arrivals, Opened};
use crate::client::KeyedClient;
use crate::layered::Shape;
use crate::ledger::Ledger;
use crate::memory::metered;
use crate::publisher::Publisher;
use crate::subscription::{ALL_LAYERS, Subscription};
use crate::world::decisions::target;
use crate::world::link::{Weather, narrow};
use crate::world::pace::Pace;
use crate::world::reports::{Reports, Tells};
use crate::world::{FEWEST, LONGEST_WAY, MOST, Participant, Track, World};
use parlour_media::{
    Command, ConsumerId, ConsumerSpec, Kind, MAX_SOURCES, ProducerId, ProducerSpec, Ssrc,
};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// The header extensions with the name of an encoding, and with that of what a retransmission repairs.
const RID_EXTENSION: u8 = 10;
const REPAIRED_RID_EXTENSION: u8 = 11;

/// The names of encodings, from the biggest on.
const RIDS: [&str; MAX_SOURCES] = ["h", "m", "l"];

impl World {
    /// One more participant comes.
    pub(super) fn join(&mut self) {
        let who = self.participants.len();
        let number = who as u64 + 1;
        let (router, now, sink, rng) = (&mut self.router, self.now, &mut self.sink, &mut self.rng);
        let client = KeyedClient::join(router, now, sink, number, rng);
        self.addresses.insert(client.address, who);
        let narrow = self.adapts.then(|| narrow(&mut self.rng));
        let tells = Tells::random(self.adapts, &mut self.rng);
        self.participants.push(Participant {
            narrow,
            pace: Pace::default(),
            told_less: None,
            ledger: Ledger::new(client.second_receiver()),
            opened: Opened::default(),
            known: HashSet::new(),
            connected: false,
            here: true,
            closed: false,
            up: Weather::random(&mut self.rng),
            down: Weather::random(&mut self.rng),
            next_check: self.now,
            next_nack: self.now,
            reports: Reports::new(tells, self.now),
            client,
        });
        self.count("participants", 1);
        for publication in self.publications_where(|it| it.live) {
            self.subscribe(who, publication);
        }
        for kind in [Kind::Video, Kind::Audio] {
            self.publish(who, kind);
        }
    }

    /// A participant leaves: the control plane takes its transport away, or all its parts one by one before it.
    fn leave(&mut self, who: usize) {
        self.count("participants who left", 1);
        let one_by_one = self.rng.below(2) == 0;
        let ours: Vec<Ssrc> = self.subscriptions_where(|it| it.subscriber == who);
        if one_by_one {
            ours.iter().for_each(|of| self.unsubscribe(*of));
        }
        for track in 0..self.tracks.len() {
            if one_by_one && self.tracks[track].owner == who {
                self.unpublish(track);
            }
        }
        let participant = &mut self.participants[who];
        (participant.here, participant.connected) = (false, false);
        participant.narrow = None;
        for track in &mut self.tracks {
            track.live &= track.owner != who;
        }
        self.addresses.retain(|_, at| *at != who);
        let transport = self.participants[who].client.transport;
        self.command(Command::RemoveTransport { transport });
        assert!(self.participants[who].closed, "{transport} is not closed");
        let ended = self.subscriptions_where(|it| it.subscriber == who);
        ended.into_iter().for_each(|of| self.end(of));
        self.end_without_sources();
    }

    /// Subscriptions that have nothing to get any more are over.
    fn end_without_sources(&mut self) {
        let is_live = |track: &usize| self.tracks[*track].live;
        let ended = self.subscriptions_where(|it| !it.sources.iter().any(is_live));
        ended.into_iter().for_each(|of| self.end(of));
    }

    /// Everybody leaves, and what is under way finds nobody: then the router holds what a new one does.
    pub(super) fn empty(&mut self) {
        self.is_silent = true;
        for who in 0..self.participants.len() {
            if self.participants[who].here {
                self.leave(who);
            }
        }
        self.run(LONGEST_WAY, |_| {});
        assert!(self.in_flight.is_empty(), "all that was under way came");
        self.is_empty_as_new();
        self.is_silent = false;
    }

    /// A participant publishes one more sound or picture, that in one to three sizes.
    fn publish(&mut self, who: usize, kind: Kind) {
        let sizes = match kind {
            Kind::Audio => 1,
            Kind::Video => [1, 2, 3, 3][self.rng.below(4) as usize],
        };
        let shape = Shape::random(&mut self.rng);
        let publication = self.publications;
        self.publications += 1;
        let mid = format!("m{publication}");
        for (size, rid) in (0..).zip(&RIDS[..sizes]) {
            let track = self.tracks.len();
            let id = ProducerId(track as u64 + 1);
            let mut spec = ProducerSpec {
                mid: mid.clone(),
                ..self.participants[who].client.producer(id, kind)
            };
            if sizes > 1 {
                spec.rid = (*rid).into();
                spec.rid_extension = Some(RID_EXTENSION);
                spec.repaired_rid_extension = Some(REPAIRED_RID_EXTENSION);
            }
            self.command(Command::AddProducer(spec.clone()));
            let (ssrc, looks) = (self.take_ssrc(), (shape, size));
            self.tracks.push(Track {
                publisher: Publisher::new(spec, ssrc, looks, &mut self.rng),
                arrivals: Arrivals::default(),
                kept: Vec::new(),
                places: BTreeMap::new(),
                media: None,
                publication,
                owner: who,
                live: true,
                next_frame: self.now,
                silent_until: self.now,
                clock: None,
                ahead: Duration::from_secs([0, 0, 0, 2][self.rng.below(4) as usize]),
                wanted_since: None,
                asked: None,
                next_clock: self.now + Duration::from_millis(self.rng.below(1000)),
            });
        }
        self.note_most();
        for other in 0..self.participants.len() {
            if other != who && self.participants[other].here {
                self.subscribe(other, publication);
            }
        }
    }

    fn unpublish(&mut self, track: usize) {
        let producer = self.tracks[track].publisher.spec.producer;
        if !std::mem::replace(&mut self.tracks[track].live, false) {
            return;
        }
        self.command(Command::RemoveProducer { producer });
        self.end_without_sources();
    }

    /// The tracks of a publication, from the biggest on.
    fn tracks_of(&self, publication: usize) -> Vec<usize> {
        let all = 0..self.tracks.len();
        all.filter(|track| self.tracks[*track].publication == publication)
            .collect()
    }

    fn publications_where(&self, wanted: impl Fn(&Track) -> bool) -> Vec<usize> {
        let all = self.tracks.iter().filter(|track| wanted(track));
        let mut found: Vec<usize> = all.map(|track| track.publication).collect();
        found.dedup();
        found
    }

    /// Two SSRCs that nobody had before; the second is for retransmissions.
    fn take_ssrc(&mut self) -> Ssrc {
        self.next_ssrc += 2;
        Ssrc(self.next_ssrc)
    }

    /// A third has no RTX.
    fn subscribe(&mut self, who: usize, publication: usize) {
        let (ssrc, rtx) = (self.take_ssrc(), self.rng.below(3) != 0);
        let sources = self.tracks_of(publication);
        let participant = &self.participants[who];
        let producers = sources
            .iter()
            .map(|track| &self.tracks[*track].publisher.spec);
        let spec = ConsumerSpec {
            producers: producers.map(|spec| spec.producer).collect(),
            source: self.rng.below(sources.len() as u64) as usize,
            temporal: [None, None, Some(0), Some(1), Some(2)][self.rng.below(5) as usize],
            rank: self.rng.below(3) as u8,
            twcc_extension: participant.reports.twcc_extension(),
            ..participant.client.consumer(
                ConsumerId(u64::from(ssrc.0)),
                &self.tracks[sources[0]].publisher.spec,
                ssrc.0,
                rtx,
            )
        };
        let begin = (spec.source, 0);
        let kind = self.tracks[sources[0]].publisher.spec.kind;
        let mut subscription = Subscription::new(spec.clone(), who, sources, kind, begin, self.now);
        let source = target(&subscription, &self.tracks, self.now).expect("something live");
        subscription.source = source;
        subscription.cursor = self.tracks[subscription.track()].kept.len();
        self.subscriptions.insert(ssrc, subscription);
        self.command(Command::AddConsumer(spec));
        self.note_most();
    }

    fn unsubscribe(&mut self, of: Ssrc) {
        let consumer = self.subscriptions[&of].spec.consumer;
        self.command(Command::RemoveConsumer { consumer });
        self.end(of);
    }

    /// A subscription is over, and its sum is drawn. What is under way to it is not told of any more.
    fn end(&mut self, of: Ssrc) {
        let ended = self.subscriptions.remove(&of).expect("a subscription");
        self.draw_sum(&ended, false);
    }

    fn subscriptions_where(&self, wanted: impl Fn(&Subscription) -> bool) -> Vec<Ssrc> {
        let all = self.subscriptions.iter();
        all.filter(|(_, it)| wanted(it))
            .map(|(of, _)| *of)
            .collect()
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        among
            .get(self.rng.below(among.len() as u64) as usize)
            .copied()
    }

    fn set_weather(&mut self, who: usize) {
        self.participants[who].up = Weather::random(&mut self.rng);
        self.participants[who].down = Weather::random(&mut self.rng);
        self.change_narrow(who, false);
    }

    /// Somebody's links get better or worse; now and then a stream starts anew.
    pub(super) fn change_little(&mut self) {
        let who = self.rng.below(self.participants.len() as u64) as usize;
        self.set_weather(who);
        if self.rng.below(30) == 0 {
            let track = self.rng.below(self.tracks.len() as u64) as usize;
            self.change_ssrc(track);
        }
    }

    /// A track goes on under another SSRC.
    fn change_ssrc(&mut self, track: usize) {
        self.count("changes of an SSRC", 1);
        let ssrc = self.take_ssrc();
        let it = &mut self.tracks[track];
        it.publisher.change_ssrc(ssrc, &mut self.rng);
        // At once, so that what is still under way of the stream before comes in between.
        it.next_frame = self.now;
    }

    /// Somebody wants another source, or others many times in a row.
    fn change_source(&mut self, of: Ssrc) {
        let times = [1, 1, 1, 40][self.rng.below(4) as usize];
        for _ in 0..times {
            self.count("wishes for a source", 1);
            let source = self.rng.below(MAX_SOURCES as u64 + 1) as usize;
            let temporal = [None, Some(0), Some(1), Some(2), Some(9)][self.rng.below(5) as usize];
            let it = self.subscriptions.get_mut(&of).expect("it was picked");
            it.wanted = source.min(it.sources.len() - 1);
            it.temporal = temporal.unwrap_or(ALL_LAYERS).min(ALL_LAYERS);
            let consumer = it.spec.consumer;
            self.command(Command::SetConsumerSource {
                consumer,
                source,
                temporal,
            });
        }
    }

    /// Something changes: the weather, an address, a pause, a subscription, a track, who is there.
    pub(super) fn change(&mut self) {
        let all = 0..self.participants.len();
        let here: Vec<usize> = all.filter(|who| self.participants[*who].here).collect();
        let live: Vec<usize> = (0..self.tracks.len())
            .filter(|track| self.tracks[*track].live)
            .collect();
        let subscriptions = self.subscriptions_where(|_| true);
        let Some(who) = self.pick(&here) else { return };
        let (track, subscription) = (self.pick(&live), self.pick(&subscriptions));
        match (self.rng.below(36), track, subscription) {
            (0..5, ..) => {
                self.set_weather(who);
            }
            (5..8, ..) => {
                self.count("rebindings", 1);
                let participant = &mut self.participants[who];
                participant.client.rebind();
                participant.next_check = self.now;
                self.addresses.insert(participant.client.address, who);
                // Some do not know that they moved; others look for a path anew.
                if self.rng.below(2) == 0 {
                    self.count("ICE restarts", 1);
                    let restart = self.participants[who].client.restart();
                    restart
                        .into_iter()
                        .for_each(|command| self.command(command));
                }
            }
            (8..12, _, Some(of)) => {
                self.count("pauses and resumptions", 1);
                let it = self.subscriptions.get_mut(&of).expect("it was picked");
                let (consumer, paused) = (it.spec.consumer, !it.paused);
                it.set_paused(self.now, paused);
                self.command(Command::SetConsumerPaused { consumer, paused });
            }
            (12..14, _, Some(of)) => {
                self.count("subscriptions renewed", 1);
                let it = &self.subscriptions[&of];
                let (who, publication) = (it.subscriber, self.tracks[it.track()].publication);
                self.unsubscribe(of);
                self.subscribe(who, publication);
            }
            (14..16, Some(track), _) => {
                let it = &self.tracks[track];
                let (owner, kind) = (it.owner, it.publisher.spec.kind);
                let all = self.tracks_of(it.publication);
                if self.rng.below(2) == 0 && all.len() > 1 {
                    self.count("encodings that ended", 1);
                    self.unpublish(track);
                } else {
                    self.count("tracks renewed", 1);
                    all.into_iter().for_each(|track| self.unpublish(track));
                    self.publish(owner, kind);
                }
            }
            (16..18, Some(track), _) => {
                self.change_ssrc(track);
            }
            (18..20, Some(track), _) => {
                // Further than half a cycle ahead of what the router has opened, it would take the number for an old one.
                let it = &mut self.tracks[track];
                let newest = self.participants[it.owner].opened.newest(it.publisher.ssrc);
                if newest.is_some_and(|newest| it.publisher.next_number() - newest < 0x4000) {
                    it.publisher.jump(&mut self.rng);
                    it.next_frame = self.now;
                    self.count("jumps of numbers", 1);
                }
            }
            (20..22, ..) if here.len() > FEWEST => self.leave(who),
            (22..24, ..) if here.len() < MOST => self.join(),
            (24..32, _, Some(of)) => self.change_source(of),
            (32..36, Some(track), _) => {
                self.count("encodings that paused", 1);
                let pause = Duration::from_millis(self.rng.below(3000));
                self.tracks[track].silent_until = self.now + pause;
            }
            _ => {}
        }
    }

    /// A connection that is there from now on: its keys are injected.
    pub(super) fn connect(&mut self, who: usize) {
        self.participants[who].connected = true;
        let before = self.router.drops().clone();
        let (router, now) = (&mut self.router, self.now);
        let client = &self.participants[who].client;
        metered(|| client.connect(router, now));
        let sent = self.collect();
        assert!(sent.is_empty(), "media out of keys");
        self.settle(&before, Vec::new(), sent, false);
    }
}
