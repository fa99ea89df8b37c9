//! What one subscriber must see of a track, packet by packet: a model of the rules, not of the router's code. For each
//! packet that reaches the router it says before whether it goes out, under which number, or for which reason not.

use crate::arrivals::Taken;
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

/// What must become of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It goes out, the first of all: where the numbers begin is the router's to choose.
    First,
    /// It goes out under this number.
    Number(u64),
    /// It is dropped.
    Dropped(DropReason),
}

/// A subscription: the model's state and what really happened.
pub struct Subscription {
    /// As the router knows it.
    pub spec: ConsumerSpec,
    /// Whose it is.
    pub subscriber: usize,
    /// The index of the track.
    pub track: usize,
    /// What the router was told last.
    pub paused: bool,
    /// What had come to the router when it began: it is not for it.
    pub before: HashSet<Taken>,
    /// Everything that the router took in since, once.
    pub fates: HashMap<Taken, Fate>,
    /// Every number it was sent, with the packet and the timestamp.
    pub sent: BTreeMap<u64, (Taken, RtpTime)>,
    /// Numbers that its link delivered.
    pub delivered: HashSet<u64>,
    /// Numbers whose packet was lost on the link; a repair may have come.
    pub lost: HashSet<u64>,
    /// Numbers that a repair delivered.
    pub repaired: HashSet<u64>,
    /// The newest number delivered.
    pub newest: Option<u64>,
    run: Option<Run>,
    time: Option<(u32, RtpTime)>,
}

/// From a packet that a decoder can begin with to the next pause, or to the end of its epoch.
struct Run {
    epoch: u32,
    first: u64,
    /// None until the router has chosen.
    first_out: Option<u64>,
    newest: u64,
    /// Padding that was left out, so that what follows it closes up.
    left_out: Vec<u64>,
}

impl Run {
    /// The number that a packet of this run leaves with.
    fn number_of(&self, id: u64) -> Option<u64> {
        if self.left_out.contains(&id) {
            return None;
        }
        let closed_up = self.left_out.iter().filter(|at| **at < id).count() as u64;
        Some(self.first_out? + (id - self.first) - closed_up)
    }
}

impl Subscription {
    /// One that has seen nothing.
    pub fn new(
        spec: ConsumerSpec,
        subscriber: usize,
        track: usize,
        before: HashSet<Taken>,
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
            repaired: HashSet::new(),
            newest: None,
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
    pub fn expect(&mut self, taken: Taken, packet: &Published, connected: bool) -> Expected {
        let (epoch, id) = taken;
        let is_padding = packet.payload.is_empty();
        if self.paused {
            return Expected::Dropped(DropReason::Paused);
        }
        if !connected {
            return Expected::Dropped(DropReason::NotConnected);
        }
        let next = self.sent.last_key_value().map(|(out, _)| out + 1);
        if self.run.as_ref().is_none_or(|run| run.epoch != epoch) {
            if is_padding {
                return Expected::Dropped(DropReason::PaddingOnly);
            }
            if !packet.starts {
                return Expected::Dropped(DropReason::AwaitingKeyframe);
            }
            self.run = None;
        }
        let run = self.run.get_or_insert_with(|| Run {
            epoch,
            first: id,
            first_out: next,
            newest: id,
            left_out: Vec::new(),
        });
        if id < run.first {
            return Expected::Dropped(DropReason::BeforeStart);
        }
        if id > run.newest {
            run.newest = id;
            if is_padding {
                run.left_out.push(id);
                return Expected::Dropped(DropReason::PaddingOnly);
            }
        }
        if run.first_out.is_none() {
            return Expected::First;
        }
        match run.number_of(id) {
            Some(out) => Expected::Number(out),
            None => Expected::Dropped(DropReason::BeforeStart),
        }
    }

    /// A packet went out: its number is the expected one (None: it is the first), time goes on and the rest is as it was
    /// published.
    pub fn on_sent(
        &mut self,
        taken: Taken,
        packet: &Published,
        expected: Option<u64>,
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
                "{who}: packet {taken:?} leaves a gap or steps back"
            ),
        }
        let is_first = taken == (run.epoch, run.first);
        let time = view.timestamp();
        let shift = time.0.wrapping_sub(packet.timestamp);
        let mut newest = time;
        if let Some((shift_before, newest_before)) = self.time {
            assert!(
                is_first || shift == shift_before,
                "{who}: the distance of timestamps changes at {out}"
            );
            assert!(
                !is_first || time.newer_than(newest_before),
                "{who}: time steps back at {out}"
            );
            if newest_before.newer_than(time) {
                newest = newest_before;
            }
        }
        self.time = Some((shift, newest));
        self.check(packet, time, out, view, view.payload());
        let before = self.sent.insert(out, (taken, time));
        assert_eq!(before, None, "{who}: number {out} is used twice");
    }

    /// A repair went out, of the number `out` of this stream: the packet that was sent under it, as it was.
    pub fn on_repair<'a>(
        &self,
        published: impl Fn(u64) -> &'a Published,
        out: u64,
        view: &RtpView<'_>,
        payload: &[u8],
    ) {
        let sent = self.sent.get(&out);
        let ((_, id), time) = sent.unwrap_or_else(|| {
            let who = self.spec.consumer;
            panic!("{who:?}: {out} is repaired and was never sent")
        });
        self.check(published(*id), *time, out, view, payload);
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
    pub fn begins_with(&self, taken: Taken) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| (run.epoch, run.first) == taken)
    }

    /// Notes what became of a packet that had come too early for it, and goes out behind the one that it overtook.
    pub fn settle_anew(&mut self, taken: Taken, fate: Fate) {
        if self.fates.insert(taken, fate).is_none() {
            let is_known = self.before.remove(&taken);
            assert!(is_known, "packet {taken:?} never came");
        }
    }

    /// Notes what became of a packet; each has one fate.
    pub fn settle(&mut self, taken: Taken, fate: Fate) {
        let before = self.fates.insert(taken, fate);
        assert_eq!(
            before, None,
            "{:?}: packet {taken:?} has two fates",
            self.spec.consumer
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::Sender;
    use crate::raw;
    use parlour_media::{Kind, Ssrc, TransportId};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Number, timestamp, marker and payload of what the router sent.
    type Seen = (u64, u32, bool, &'static [u8]);

    fn published(id: u64) -> Published {
        Published {
            sender: Sender {
                id,
                ssrc: Ssrc(7),
                number: 100 + id,
            },
            timestamp: 1000 * id as u32,
            marker: id % 2 == 1,
            starts: id.is_multiple_of(10),
            payload: if id == 3 { Vec::new() } else { b"p".to_vec() },
        }
    }

    struct Model(Subscription);

    impl Model {
        fn new() -> Model {
            let producer = raw::producer(TransportId(1), Kind::Video);
            let spec = raw::consumer(TransportId(2), &producer, 3000);
            Model(Subscription::new(spec, 0, 0, HashSet::new()))
        }

        fn expect(&mut self, epoch: u32, id: u64) -> Expected {
            self.0.expect((epoch, id), &published(id), true)
        }

        /// The packet goes out as it is seen; what is wrong with that, if anything.
        fn sees(&mut self, (epoch, id): Taken, seen: Seen) -> Result<(), String> {
            let expected = match self.expect(epoch, id) {
                Expected::First => None,
                Expected::Number(out) => Some(out),
                Expected::Dropped(reason) => panic!("{id} is {reason}"),
            };
            let (out, time, marker, payload) = seen;
            let mut packet = raw::rtp_packet(96, out as u16, time, 3000, payload);
            packet[1] = packet[1] & 0x7f | u8::from(marker) << 7;
            let view = RtpView::parse(&packet).expect("RTP");
            let judge = || {
                let packet = published(id);
                self.0.on_sent((epoch, id), &packet, expected, out, &view);
                self.0.settle((epoch, id), Fate::Sent(out));
            };
            let judged = catch_unwind(AssertUnwindSafe(judge));
            judged.map_err(|why| *why.downcast::<String>().expect("a sentence"))
        }
    }

    #[test]
    fn what_is_dropped_and_what_goes_out_under_which_number_is_known_before() {
        let mut model = Model::new();
        let dropped = |reason| Expected::Dropped(reason);
        assert_eq!(model.expect(1, 9), dropped(DropReason::AwaitingKeyframe));
        assert_eq!(model.sees((1, 0), (50, 5, false, b"p")), Ok(()));
        assert_eq!(model.sees((1, 1), (51, 1005, true, b"p")), Ok(()));
        assert_eq!(model.expect(1, 3), dropped(DropReason::PaddingOnly));
        assert_eq!(model.expect(1, 5), Expected::Number(54), "it closes up");
        assert_eq!(model.expect(1, 2), Expected::Number(52), "a place is kept");
        assert_eq!(model.expect(2, 4), dropped(DropReason::AwaitingKeyframe));
        assert_eq!(model.expect(2, 10), Expected::Number(52), "no gap");
        assert_eq!(model.expect(2, 9), dropped(DropReason::BeforeStart));
        model.0.set_paused(true);
        assert_eq!(model.expect(2, 11), dropped(DropReason::Paused));
        assert_eq!(
            model.0.expect((2, 11), &published(11), false),
            dropped(DropReason::Paused)
        );
    }

    #[test]
    fn each_wrong_thing_in_a_packet_is_found_and_named() {
        let wrong: [(&str, Taken, Seen); 7] = [
            ("leaves a gap", (1, 2), (53, 2005, false, b"p")),
            ("steps back", (1, 2), (51, 2005, false, b"p")),
            ("distance of timestamps", (1, 2), (52, 2006, false, b"p")),
            ("the marker", (1, 2), (52, 2005, true, b"p")),
            ("payload is another", (1, 2), (52, 2005, false, b"q")),
            ("has two fates", (1, 1), (51, 1005, true, b"p")),
            ("time steps back", (2, 10), (52, 1005, false, b"p")),
        ];
        for (what, taken, seen) in wrong {
            let mut model = Model::new();
            model.sees((1, 0), (50, 5, false, b"p")).expect("right");
            model.sees((1, 1), (51, 1005, true, b"p")).expect("right");
            // The one number that is used twice is told by whoever notices first.
            let said = model.sees(taken, seen).expect_err(what);
            let is_named = said.contains(what) || taken == (1, 1) && said.contains("used twice");
            assert!(is_named, "{what}: {said}");
        }
        let mut model = Model::new();
        let late = model.sees((1, 0), (0x8000, 5, false, b"p"));
        assert!(late.is_err_and(|said| said.contains("upper half")));
    }
}
