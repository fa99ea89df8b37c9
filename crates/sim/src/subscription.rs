//! What one subscriber must see of a track, packet by packet: a model of the rules, not of the router's code. For each
//! packet that reaches the router it says before whether it goes out, under which number, or for which reason not.

use crate::publisher::Published;
use parlour_media::num::RtpTime;
use parlour_media::rtp::RtpView;
use parlour_media::{ConsumerSpec, DropReason};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What became of a published packet for one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It went out under this number.
    Sent(u64),
    /// It was dropped.
    Dropped(DropReason),
}

impl Fate {
    /// Why it was dropped, if it was.
    pub fn reason(self) -> Option<DropReason> {
        match self {
            Fate::Sent(_) => None,
            Fate::Dropped(reason) => Some(reason),
        }
    }
}

/// A subscription: the model's state and what really happened.
pub struct Subscription {
    /// As the router knows it.
    pub spec: ConsumerSpec,
    /// Whose it is, and of which track.
    pub subscriber: usize,
    /// The index of the track.
    pub track: usize,
    /// What the router was told last.
    pub paused: bool,
    /// Numbers of the packets that had come to the router when it began: they are not for it.
    pub before: HashSet<u64>,
    /// Every packet that reached the router since, once.
    pub fates: HashMap<u64, Fate>,
    /// Every number it was sent, with the packet and the timestamp.
    pub sent: BTreeMap<u64, (u64, RtpTime)>,
    /// Numbers that its link delivered, and numbers whose packet was lost there.
    pub delivered: HashSet<u64>,
    /// The packet itself was lost on the link; a repair may have come.
    pub lost: HashSet<u64>,
    /// Numbers that went out as retransmissions only.
    pub by_repair: HashSet<u64>,
    /// Numbers that a repair delivered.
    pub repaired: HashSet<u64>,
    run: Option<Run>,
    time: Option<(u32, RtpTime)>,
}

/// From a packet that a decoder can begin with to the next pause.
struct Run {
    first: u64,
    first_out: u64,
    newest: u64,
    /// Padding that was left out, so that what follows it closes up.
    left_out: Vec<u64>,
}

impl Run {
    /// The number that a packet of this run leaves with.
    fn number_of(&self, number: u64) -> Option<u64> {
        if self.left_out.contains(&number) {
            return None;
        }
        let closed_up = self.left_out.iter().filter(|at| **at < number).count() as u64;
        Some(self.first_out + (number - self.first) - closed_up)
    }
}

impl Subscription {
    /// One that has seen nothing.
    pub fn new(
        spec: ConsumerSpec,
        subscriber: usize,
        track: usize,
        before: HashSet<u64>,
    ) -> Subscription {
        Subscription {
            spec,
            subscriber,
            track,
            paused: false,
            before,
            fates: HashMap::new(),
            sent: BTreeMap::new(),
            delivered: HashSet::new(),
            lost: HashSet::new(),
            by_repair: HashSet::new(),
            repaired: HashSet::new(),
            run: None,
            time: None,
        }
    }

    /// The router was told to pause it, or to go on.
    pub fn set_paused(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.run = None;
        }
    }

    /// What must become of a packet that the router has just taken.
    pub fn expect(&mut self, number: u64, packet: &Published, connected: bool) -> Fate {
        let is_padding = packet.payload.is_empty();
        if self.paused {
            return Fate::Dropped(DropReason::Paused);
        }
        if !connected {
            return Fate::Dropped(DropReason::NotConnected);
        }
        let next = self.sent.last_key_value().map(|(out, _)| out + 1);
        if self.run.is_none() {
            if is_padding {
                return Fate::Dropped(DropReason::PaddingOnly);
            }
            if !packet.starts {
                return Fate::Dropped(DropReason::AwaitingKeyframe);
            }
        }
        let run = self.run.get_or_insert_with(|| Run {
            first: number,
            // Where the numbers begin is the router's to choose; u64::MAX: any number will do.
            first_out: next.unwrap_or(u64::MAX),
            newest: number,
            left_out: Vec::new(),
        });
        if number < run.first {
            return Fate::Dropped(DropReason::BeforeStart);
        }
        if number > run.newest {
            run.newest = number;
            if is_padding {
                run.left_out.push(number);
                return Fate::Dropped(DropReason::PaddingOnly);
            }
        }
        if run.first_out == u64::MAX {
            return Fate::Sent(u64::MAX);
        }
        match run.number_of(number) {
            Some(out) => Fate::Sent(out),
            None => Fate::Dropped(DropReason::BeforeStart),
        }
    }

    /// A packet went out: its number is the expected one, time goes on and the rest is as it was published.
    pub fn on_sent(
        &mut self,
        number: u64,
        packet: &Published,
        expected: u64,
        out: u64,
        view: &RtpView<'_>,
    ) {
        let who = format!("{:?} of {:?}", self.spec.consumer, self.spec.producer);
        let run = self.run.as_mut().expect("a run has begun");
        if expected == u64::MAX {
            assert!(
                out < 0x8000,
                "{who} begins with {out}, in the upper half (RFC 3711 §3.3.1)"
            );
            run.first_out = out;
        } else {
            assert_eq!(
                out, expected,
                "{who}: packet {number} leaves a gap or steps back"
            );
        }
        let (newest_shift, newest) = match self.time {
            Some((shift, newest)) => (Some(shift), Some(newest)),
            None => (None, None),
        };
        let time = view.timestamp();
        let shift = time.0.wrapping_sub(packet.timestamp);
        if let Some(before) = newest_shift.filter(|_| number != run.first) {
            assert_eq!(
                shift, before,
                "{who}: the distance of timestamps changes at {out}"
            );
        }
        if let Some(newest) = newest.filter(|_| number == run.first) {
            assert!(time.newer_than(newest), "{who}: time steps back at {out}");
        }
        let newest = newest
            .filter(|newest| newest.newer_than(time))
            .unwrap_or(time);
        self.time = Some((shift, newest));
        self.check(packet, time, out, view, view.payload());
        let before = self.sent.insert(out, (number, time));
        assert_eq!(before, None, "{who}: number {out} is used twice");
    }

    /// A repair went out, of the number `out` of this stream: of a packet that was sent, or of one that overtook the
    /// packet its decoder began with. That one came too early, its number was kept open, and so it is sent now.
    pub fn on_repair(
        &mut self,
        published: impl Fn(u64) -> Published,
        out: u64,
        view: &RtpView<'_>,
        payload: &[u8],
    ) {
        if let Some((number, time)) = self.sent.get(&out) {
            return self.check(&published(*number), *time, out, view, payload);
        }
        let who = format!("{:?}: {out}", self.spec.consumer);
        let run = self
            .run
            .as_ref()
            .unwrap_or_else(|| panic!("{who} is repaired and was never sent"));
        let is_here = |number: &u64| run.number_of(*number) == Some(out);
        let number = (run.first..=run.newest).find(is_here);
        let number = number.unwrap_or_else(|| panic!("{who} is repaired and is nobody's number"));
        match self.fates.insert(number, Fate::Sent(out)) {
            None => assert!(
                self.before.remove(&number),
                "{who}: packet {number} never came"
            ),
            Some(Fate::Sent(_)) => panic!("{who}: packet {number} has another number"),
            Some(Fate::Dropped(_)) => {}
        }
        let (shift, _) = self.time.expect("a packet was sent");
        let packet = published(number);
        let time = RtpTime(packet.timestamp.wrapping_add(shift));
        self.check(&packet, time, out, view, payload);
        self.sent.insert(out, (number, time));
        if view.ssrc() != self.spec.ssrc {
            self.by_repair.insert(out);
        }
    }

    fn check(
        &self,
        packet: &Published,
        time: RtpTime,
        out: u64,
        view: &RtpView<'_>,
        payload: &[u8],
    ) {
        let who = format!("{:?}, number {out}", self.spec.consumer);
        assert_eq!(view.marker(), packet.marker, "{who}: the marker");
        assert_eq!(view.timestamp(), time, "{who}: the timestamp");
        assert!(
            payload == packet.payload,
            "{who}: the payload is another one"
        );
    }

    /// Whether its decoder begins with that packet.
    pub fn begins_with(&self, number: u64) -> bool {
        self.run.as_ref().is_some_and(|run| run.first == number)
    }

    /// Notes what became of a packet that had come too early for it, and goes out with the one that it overtook.
    pub fn settle_anew(&mut self, number: u64, fate: Fate) {
        if self.fates.insert(number, fate).is_none() {
            let is_known = self.before.remove(&number);
            assert!(is_known, "packet {number} never came");
        }
    }

    /// Notes what became of a packet; each has one fate.
    pub fn settle(&mut self, number: u64, fate: Fate) {
        let before = self.fates.insert(number, fate);
        assert_eq!(
            before, None,
            "{:?}: packet {number} has two fates",
            self.spec.consumer
        );
    }
}
