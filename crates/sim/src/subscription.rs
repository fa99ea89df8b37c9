//! What one subscriber must see of a picture or a sound, packet by packet: a model of the rules, not of the router's code.
//! For each packet that it comes to be served it says before whether that goes out, under which number, or for which
//! reason not. When it is served, and of which of its sources, the router decides by what it measured: whether it may is
//! judged in `world/decisions`.

mod line;
mod run;

use crate::arrivals::Taken;
use crate::publisher::Published;
pub use line::Clocks;
use line::Times;
use parlour_media::num::RtpTime;
use parlour_media::rtp::RtpView;
use parlour_media::{ConsumerSpec, DropReason, Kind};
use run::{LayerChoice, Numbering, Run};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// All temporal layers.
pub const ALL_LAYERS: u8 = 7;

/// What became of a published packet for one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It went out under this number, with nothing in it if it had to be left out after all.
    Sent(u64),
    /// It was dropped.
    Dropped(DropReason),
}

/// What must become of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It goes out, the first of all: where the numbers begin is the router's to choose.
    First,
    /// It goes out under this number.
    Number(u64),
    /// Only the number goes out, which was kept for it, and it counts as dropped.
    Emptied(u64, DropReason),
    /// It is dropped.
    Dropped(DropReason),
}

/// What was sent under a number.
pub struct Sent {
    /// The timestamp.
    time: RtpTime,
    marker: bool,
    payload: Vec<u8>,
}

/// A packet of a source, where it stands in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The place of the source.
    pub place: usize,
    /// Which packet.
    pub taken: Taken,
}

/// A subscription: the model's state and what really happened.
pub struct Subscription {
    /// As the router knows it.
    pub spec: ConsumerSpec,
    /// Whose it is.
    pub subscriber: usize,
    /// The tracks that it may get, from the biggest to the smallest.
    pub sources: Vec<usize>,
    /// What the router was told last: whether it is on, which source and which temporal layers are wanted.
    pub paused: bool,
    /// See above.
    pub wanted: usize,
    /// See above.
    pub temporal: u8,
    /// What the router decided last: which source it gets and which is to follow, each with the arrival that comes next;
    /// and whether there is no room for any.
    pub source: usize,
    /// See above.
    pub cursor: usize,
    /// See above.
    pub next: Option<(usize, usize)>,
    /// See above.
    pub starved: bool,
    /// The biggest source that there is room for.
    pub allowed: usize,
    /// The highest temporal layer that there is room for, and since when.
    pub layers: (u8, Instant),
    /// What the control plane was told last.
    pub told: Option<usize>,
    /// Since when it is there.
    pub began: Instant,
    /// Which source it should get, and since when.
    pub due: (Option<usize>, Instant),
    /// Everything that came to be served, by its track.
    pub fates: HashMap<(usize, Taken), Fate>,
    /// Packets that were sent before and again with the one that they had overtaken.
    pub again: u64,
    /// Every number it was sent.
    pub sent: BTreeMap<u64, Sent>,
    /// Numbers that its link delivered.
    pub delivered: HashSet<u64>,
    /// Numbers whose packet was lost on the link; a repair may have come.
    pub lost: HashSet<u64>,
    /// Numbers that a repair delivered.
    pub repaired: HashSet<u64>,
    /// The newest number delivered.
    pub newest: Option<u64>,
    /// When it last had to begin anew.
    pub stopped: Instant,
    /// Whether a frame has begun to go out and has not ended.
    pub in_frame: bool,
    /// Times that it went over to another source.
    pub switches: u64,
    kind: Kind,
    run: Option<Run>,
    pictures: Option<Numbering>,
    time: Times,
}

impl Subscription {
    /// One that has seen nothing, and gets what comes as these arrivals of these tracks.
    pub fn new(
        spec: ConsumerSpec,
        subscriber: usize,
        sources: Vec<usize>,
        kind: Kind,
        (source, cursor): (usize, usize),
        now: Instant,
    ) -> Subscription {
        Subscription {
            subscriber,
            paused: false,
            wanted: spec.source,
            temporal: spec.temporal.unwrap_or(ALL_LAYERS),
            source,
            cursor,
            next: None,
            starved: false,
            allowed: 0,
            layers: (ALL_LAYERS, now),
            told: Some(spec.source),
            began: now,
            due: (None, now),
            fates: HashMap::new(),
            again: 0,
            sent: BTreeMap::new(),
            delivered: HashSet::new(),
            lost: HashSet::new(),
            repaired: HashSet::new(),
            newest: None,
            stopped: now,
            in_frame: false,
            switches: 0,
            kind,
            run: None,
            pictures: None,
            time: Times::default(),
            sources,
            spec,
        }
    }

    /// The track that it gets.
    pub fn track(&self) -> usize {
        self.sources[self.source]
    }

    /// Whether its router keeps that track for it.
    pub fn listens_to(&self, track: usize) -> bool {
        let next = self.next.map(|(place, _)| self.sources[place]);
        self.track() == track || next == Some(track)
    }

    /// The router was told to pause it, or to go on.
    pub fn set_paused(&mut self, now: Instant, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.stop(now);
        }
    }

    /// What comes next must be something to begin with.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = now;
        self.end_run();
    }

    fn end_run(&mut self) {
        let pictures = self.run.take().and_then(|run| run.pictures);
        self.pictures = pictures.or(self.pictures.take());
    }

    /// It goes on with another source, from that arrival on.
    pub fn switch_to(
        &mut self,
        now: Instant,
        (source, cursor): (usize, usize),
        clocks: Option<Clocks>,
    ) {
        (self.source, self.cursor, self.in_frame) = (source, cursor, false);
        let is_its = |run: &Run| clocks.is_some_and(|(before, _)| before.0 == run.epoch);
        let clocks = clocks.filter(|_| self.run.as_ref().is_some_and(is_its));
        self.time.change(clocks);
        self.switches += 1;
        self.stop(now);
    }

    /// Whether a decoder has begun, and nothing has stopped it since.
    pub fn is_flowing(&self) -> bool {
        self.run.is_some()
    }

    /// What must become of a packet that comes to be served.
    pub fn expect(&mut self, it: Arrival, packet: &Published, connected: bool) -> Expected {
        let (epoch, id) = it.taken;
        let is_padding = packet.payload.is_empty();
        if self.paused {
            return Expected::Dropped(DropReason::Paused);
        }
        if !connected {
            return Expected::Dropped(DropReason::NotConnected);
        }
        if self.starved {
            return Expected::Dropped(DropReason::NoRoom);
        }
        let next = self.sent.last_key_value().map(|(out, _)| out + 1);
        if self.run.as_ref().is_none_or(|run| run.epoch != epoch) {
            if is_padding {
                return Expected::Dropped(DropReason::PaddingOnly);
            }
            if !packet.starts {
                return Expected::Dropped(DropReason::AwaitingKeyframe);
            }
            self.begin(it, packet, next);
        }
        let highest = self.highest();
        let run = self.run.as_mut().expect("it has begun");
        assert_eq!(run.place, it.place, "a run is of one source");
        let left_out = match packet.picture {
            _ if is_padding => Some(DropReason::PaddingOnly),
            Some(picture) if !run.layers.takes(&picture, highest) => Some(DropReason::LayerLeftOut),
            _ => None,
        };
        if id < run.first {
            return Expected::Dropped(DropReason::BeforeStart);
        }
        let is_newer = id > run.newest;
        if is_newer {
            run.newest = id;
        }
        match left_out {
            Some(reason) if is_newer => {
                run.left_out.push(id);
                run.see(packet.picture.as_ref(), true);
                return Expected::Dropped(reason);
            }
            _ => {}
        }
        if run.first_out.is_none() {
            return Expected::First;
        }
        let Some(out) = run.number_of(id) else {
            return Expected::Dropped(DropReason::BeforeStart);
        };
        run.see(packet.picture.as_ref(), left_out.is_some());
        match left_out {
            Some(reason) if reason != DropReason::PaddingOnly => Expected::Emptied(out, reason),
            _ => Expected::Number(out),
        }
    }

    /// The highest temporal layer that it is to get.
    pub fn highest(&self) -> u8 {
        self.temporal.min(self.layers.0)
    }

    fn begin(&mut self, it: Arrival, packet: &Published, next: Option<u64>) {
        self.end_run();
        let (epoch, id) = it.taken;
        let picture = packet.picture.as_ref();
        let frame = picture.map_or(0, |picture| picture.frame);
        let numbering = picture.and_then(|it| Numbering::behind(self.pictures.as_ref(), it));
        self.run = Some(Run {
            place: it.place,
            epoch,
            first: id,
            first_out: next,
            newest: id,
            left_out: Vec::new(),
            layers: LayerChoice::new(frame, self.highest()),
            pictures: numbering,
        });
    }

    /// A packet went out, or only its number did (`emptied`): its number is the expected one (None: it is the first), time
    /// goes on and the rest is as it was published, but for the numbers of pictures.
    pub fn on_sent(
        &mut self,
        now: Instant,
        it: Arrival,
        packet: &Published,
        (expected, emptied): (Option<u64>, bool),
        out: u64,
        view: &RtpView<'_>,
    ) {
        let who = format!("{:?} of {:?}", self.spec.consumer, self.spec.producers);
        let run = self.run.as_mut().expect("a run has begun");
        match expected {
            None => {
                assert!(
                    out < 0x8000,
                    "{who} begins with {out}, in the upper half (RFC 3711 §3.3.1)"
                );
                run.first_out = Some(out);
            }
            Some(expected) => assert_eq!(
                out, expected,
                "{who}: packet {it:?} leaves a gap or steps back"
            ),
        }
        let payload = match (run.pictures.as_ref(), packet.picture) {
            _ if emptied => Vec::new(),
            (Some(numbers), Some(picture)) if !packet.payload.is_empty() => {
                let (number, lowest) = numbers.of(&picture);
                picture.renumbered(&packet.payload, number, lowest)
            }
            _ => packet.payload.clone(),
        };
        if self
            .sent
            .last_key_value()
            .is_none_or(|(newest, _)| out > *newest)
        {
            self.in_frame = !packet.marker;
        }
        let is_first = it.taken == (run.epoch, run.first);
        let rate = self.kind.clock_rate() / 1000;
        let judged = self
            .time
            .take(now, rate, it, packet, is_first, view.timestamp());
        judged.unwrap_or_else(|wrong| panic!("{who}: {wrong} at {it:?}"));
        let sent = Sent {
            time: view.timestamp(),
            marker: packet.marker,
            payload,
        };
        self.check(&sent, out, view, view.payload());
        let before = self.sent.insert(out, sent);
        assert!(before.is_none(), "{who}: number {out} is used twice");
    }

    /// The timestamps that what was captured at that time has towards the subscriber: one, or two at the moment when a line
    /// begins.
    pub fn captured(&self, now: Instant, at: Duration) -> Vec<RtpTime> {
        let ticks = at.as_micros() * u128::from(self.kind.clock_rate()) / 1_000_000;
        self.time.captured(now, ticks as u32)
    }

    /// A repair went out, of the number `out` of this stream: the packet that was sent under it, as it was.
    pub fn on_repair(&self, out: u64, view: &RtpView<'_>, payload: &[u8]) {
        let sent = self.sent.get(&out).unwrap_or_else(|| {
            let who = self.spec.consumer;
            panic!("{who:?}: {out} is repaired and was never sent")
        });
        self.check(sent, out, view, payload);
    }

    fn check(&self, sent: &Sent, out: u64, view: &RtpView<'_>, payload: &[u8]) {
        let who = format!("{:?}, number {out}", self.spec.consumer);
        assert_eq!(view.marker(), sent.marker, "{who}: the marker");
        assert_eq!(view.timestamp(), sent.time, "{who}: the timestamp");
        let same = |a: &[u8], b: &[u8]| {
            a.len() == b.len()
                && a.iter()
                    .rev()
                    .zip(b.iter().rev())
                    .take(12)
                    .all(|(a, b)| a == b)
        };
        assert!(
            payload == sent.payload,
            "{who}: {}",
            match same(payload, &sent.payload) {
                true => format!(
                    "the numbers of its picture are wrong: {:x?} in place of {:x?}",
                    &payload[..6],
                    &sent.payload[..6]
                ),
                false => "the payload is another one".into(),
            }
        );
    }

    /// Whether its decoder begins with that packet.
    pub fn begins_with(&self, taken: Taken) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| (run.epoch, run.first) == taken)
    }

    /// Notes what became of a packet; each has one fate, but for those that came too early and go out behind the one that
    /// they overtook (`anew`).
    pub fn settle(&mut self, it: Arrival, fate: Fate, anew: bool) {
        let track = self.sources[it.place];
        let before = self.fates.insert((track, it.taken), fate);
        self.again += u64::from(matches!((before, fate), (Some(Fate::Sent(_)), _)));
        assert!(
            anew || before.is_none(),
            "{:?}: packet {it:?} has two fates",
            self.spec.consumer
        );
    }
}

#[cfg(test)]
mod tests;
