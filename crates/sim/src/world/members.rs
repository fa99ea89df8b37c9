//! Who comes and goes in a [`World`], and everything else that changes while a call runs.

use crate::arrivals::{Arrivals, Opened};
use crate::client::KeyedClient;
use crate::ledger::Ledger;
use crate::memory::metered;
use crate::publisher::Publisher;
use crate::subscription::Subscription;
use crate::world::link::Weather;
use crate::world::reports::Reports;
use crate::world::{FEWEST, LONGEST_WAY, MOST, Participant, Track, World};
use parlour_media::{Command, ConsumerId, Kind, ProducerId, Ssrc};
use std::collections::{BTreeMap, HashSet};

impl World {
    /// One more participant comes.
    pub(super) fn join(&mut self) {
        let who = self.participants.len();
        let number = who as u64 + 1;
        let (router, now, sink, rng) = (&mut self.router, self.now, &mut self.sink, &mut self.rng);
        let client = KeyedClient::join(router, now, sink, number, rng);
        self.addresses.insert(client.address, who);
        self.participants.push(Participant {
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
            reports: Reports::new(self.now),
            client,
        });
        self.count("participants", 1);
        for track in 0..self.tracks.len() {
            if self.tracks[track].live {
                self.subscribe(who, track);
            }
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
        self.addresses.retain(|_, at| *at != who);
        let transport = self.participants[who].client.transport;
        self.command(Command::RemoveTransport { transport });
        assert!(self.participants[who].closed, "{transport} is not closed");
        let theirs = |it: &Subscription, tracks: &[Track]| {
            it.subscriber == who || tracks[it.track].owner == who
        };
        let ended: Vec<Ssrc> = self
            .subscriptions
            .iter()
            .filter(|(_, it)| theirs(it, &self.tracks))
            .map(|(of, _)| *of)
            .collect();
        ended.into_iter().for_each(|of| self.end(of));
        for track in &mut self.tracks {
            track.live &= track.owner != who;
        }
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

    /// A participant publishes one more track.
    fn publish(&mut self, who: usize, kind: Kind) {
        let track = self.tracks.len();
        let id = ProducerId(track as u64 + 1);
        let mut spec = self.participants[who].client.producer(id, kind);
        spec.mid = format!("m{track}");
        self.command(Command::AddProducer(spec.clone()));
        let ssrc = self.take_ssrc();
        self.tracks.push(Track {
            publisher: Publisher::new(spec, ssrc, &mut self.rng),
            arrivals: Arrivals::default(),
            kept: BTreeMap::new(),
            owner: who,
            live: true,
            next_frame: self.now,
        });
        self.note_most();
        for other in 0..self.participants.len() {
            if other != who && self.participants[other].here {
                self.subscribe(other, track);
            }
        }
    }

    fn unpublish(&mut self, track: usize) {
        let producer = self.tracks[track].publisher.spec.producer;
        if !std::mem::replace(&mut self.tracks[track].live, false) {
            return;
        }
        self.command(Command::RemoveProducer { producer });
        let ended = self.subscriptions_where(|it| it.track == track);
        ended.into_iter().for_each(|of| self.end(of));
    }

    /// Two SSRCs that nobody had before; the second is for retransmissions.
    fn take_ssrc(&mut self) -> Ssrc {
        self.next_ssrc += 2;
        Ssrc(self.next_ssrc)
    }

    /// A third has no RTX.
    fn subscribe(&mut self, who: usize, track: usize) {
        let (ssrc, rtx) = (self.take_ssrc(), self.rng.below(3) != 0);
        let spec = self.participants[who].client.consumer(
            ConsumerId(u64::from(ssrc.0)),
            &self.tracks[track].publisher.spec,
            ssrc.0,
            rtx,
        );
        self.command(Command::AddConsumer(spec.clone()));
        let before = self.tracks[track].arrivals.taken.clone();
        let subscription = Subscription::new(spec, who, track, before);
        self.subscriptions.insert(ssrc, subscription);
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
    }

    /// Somebody's links get better or worse.
    pub(super) fn change_weather(&mut self) {
        let who = self.rng.below(self.participants.len() as u64) as usize;
        self.set_weather(who);
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
        match (self.rng.below(24), track, subscription) {
            (0..5, ..) => {
                self.set_weather(who);
            }
            (5..8, ..) => {
                self.count("rebindings", 1);
                let participant = &mut self.participants[who];
                participant.client.rebind();
                participant.next_check = self.now;
                self.addresses.insert(participant.client.address, who);
            }
            (8..12, _, Some(of)) => {
                self.count("pauses and resumptions", 1);
                let it = self.subscriptions.get_mut(&of).expect("it was picked");
                let (consumer, paused) = (it.spec.consumer, !it.paused);
                it.set_paused(paused);
                self.command(Command::SetConsumerPaused { consumer, paused });
            }
            (12..14, _, Some(of)) => {
                self.count("subscriptions renewed", 1);
                let it = &self.subscriptions[&of];
                let (who, track) = (it.subscriber, it.track);
                self.unsubscribe(of);
                self.subscribe(who, track);
            }
            (14..16, Some(track), _) => {
                self.count("tracks renewed", 1);
                let track = &self.tracks[track];
                let (owner, kind) = (track.owner, track.publisher.spec.kind);
                let at = track.publisher.spec.producer.0 as usize - 1;
                self.unpublish(at);
                self.publish(owner, kind);
            }
            (16..18, Some(track), _) => {
                self.count("changes of an SSRC", 1);
                let ssrc = self.take_ssrc();
                let it = &mut self.tracks[track];
                it.publisher.change_ssrc(ssrc, &mut self.rng);
                // At once, so that what is still under way of the stream before comes in between.
                it.next_frame = self.now;
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
        self.nothing_but_control(&before);
    }
}
