//! What arrives at the router of a [`World`], and whether the router did with it what it must.

use crate::arrivals::Taken;
use crate::memory::metered;
use crate::publisher::{Published, rtx_of};
use crate::subscription::{Expected, Fate, Subscription};
use crate::world::link::{InFlight, Way, What};
use crate::world::{Sent, World, nearest};
use parlour_media::rtp::{RtpHeader, RtpView};
use parlour_media::{DropReason, Kind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How far ahead of a packet the router looks for what overtook it, and how old that may be.
const FARTHEST: u64 = 512;
const OLDEST: Duration = Duration::from_secs(2);

/// What overtook a packet: numbers of its epoch behind its own that came before it, in their order.
fn overtakers(
    kept: &BTreeMap<Taken, Instant>,
    now: Instant,
    (epoch, first): Taken,
) -> impl Iterator<Item = Taken> {
    let behind = kept.range((epoch, first + 1)..=(epoch, first + FARTHEST));
    behind
        .filter(move |(_, at)| now - **at <= OLDEST)
        .map(|(taken, _)| *taken)
}

/// What becomes of a packet for one subscription; None: it has to go out and does not.
fn judge_one(
    subscription: &mut Subscription,
    taken: Taken,
    packet: &Published,
    connected: bool,
    sent: &mut Sent,
) -> Option<Fate> {
    let expected = match subscription.expect(taken, packet, connected) {
        Expected::Dropped(reason) => return Some(Fate::Dropped(reason)),
        Expected::First => None,
        Expected::Number(out) => Some(out),
    };
    let (who, of) = (subscription.subscriber, subscription.spec.ssrc);
    let is_it = |(to, plain): &(usize, Vec<u8>)| {
        *to == who && RtpHeader::parse(plain).is_ok_and(|it| it.ssrc == of)
    };
    let (_, plain) = sent.remove(sent.iter().position(is_it)?);
    let view = RtpView::parse(&plain).expect("RTP");
    let newest = subscription.sent.last_key_value();
    let newest = newest.map_or(u64::from(view.seq().0), |(out, _)| *out);
    let out = nearest(newest, view.seq());
    subscription.on_sent(taken, packet, expected, out, &view);
    Some(Fate::Sent(out))
}

impl World {
    pub(super) fn arrive(&mut self, it: InFlight) {
        let InFlight {
            who,
            way,
            mut datagram,
            ..
        } = it;
        match way {
            Way::Up(source, what) => self.receive(who, source, &what, &mut datagram),
            Way::Down(to, which) => self.deliver(who, to, which, &mut datagram),
        }
    }

    /// A datagram reaches the router.
    fn receive(&mut self, who: usize, source: SocketAddr, what: &What, datagram: &mut [u8]) {
        let before = self.router.drops().clone();
        let (router, now, sink) = (&mut self.router, self.now, &mut self.sink);
        metered(|| {
            router.handle_datagram(now, now, source, datagram, sink);
            router.forward(now, sink);
        });
        let sent = self.collect();
        let dropped = self.dropped(&before);
        self.note(dropped.iter().map(|it| it.name()).collect::<Vec<_>>());
        // The guard below the numbering is there for faults: a router without faults never meets it.
        assert!(
            !dropped.contains(&DropReason::IndexUsed),
            "a second packet under one index"
        );
        let participant = &self.participants[who];
        if !participant.here || (!what.is_stun() && !participant.known.contains(&source)) {
            assert!(sent.is_empty(), "a stranger is served");
            assert_eq!(dropped, [what.strange()], "what a stranger says");
            return;
        }
        match what {
            What::Stun => {
                assert!(
                    sent.is_empty() && dropped.is_empty(),
                    "a check: {dropped:?}"
                );
                self.participants[who].known.insert(source);
            }
            What::Answer => {
                assert!(sent.is_empty(), "an answer to a check sends media");
                // One that comes twice, or too late, is not asked for any more.
                let is_asked = dropped != [DropReason::StunUnasked];
                assert!(!is_asked || dropped.is_empty(), "an answer: {dropped:?}");
                if is_asked && !participant.connected {
                    self.connect(who);
                }
            }
            What::Media(track, id) => {
                let taken = self.take(who, *track, *id, None);
                self.judge(*track, *id, taken, sent, &dropped);
            }
            What::Repair(track, rtx, id) => {
                let taken = self.take(who, *track, *id, Some(*rtx));
                self.judge(*track, *id, taken, sent, &dropped);
            }
            What::Nack(of, asked) => {
                let answered = match self.subscriptions.contains_key(of) {
                    true => *asked,
                    false => 0,
                };
                let is_second = dropped == [DropReason::Replayed] && sent.is_empty();
                assert!(
                    is_second || sent.len() + dropped.len() == answered,
                    "{asked} numbers of {of:?} are asked for, {} are sent, {dropped:?}",
                    sent.len()
                );
                self.judge_repairs(sent);
            }
            What::Rtcp => {
                assert!(sent.is_empty());
                // Before the first feedback comes, the router keeps in mind the last 512 packets that it sent.
                let is_late = |it: &DropReason| *it == DropReason::FeedbackForgotten;
                match dropped[..] {
                    [] | [DropReason::Replayed] => {}
                    _ => assert!(dropped.iter().all(is_late), "a report: {dropped:?}"),
                }
            }
        }
    }

    /// What the router must make of a genuine packet, before anybody gets it: a packet itself, or its retransmission
    /// under a number of its own.
    fn take(
        &mut self,
        who: usize,
        track: usize,
        id: u64,
        rtx: Option<u64>,
    ) -> Result<Taken, DropReason> {
        let it = &mut self.tracks[track];
        let sender = it
            .publisher
            .get(id)
            .expect("what came was published")
            .sender;
        let opened = &mut self.participants[who].opened;
        match rtx {
            None => opened.open(sender.ssrc, sender.number)?,
            Some(number) => opened.open(rtx_of(sender.ssrc), number)?,
        }
        if !it.live {
            return Err(DropReason::UnknownStream);
        }
        match rtx {
            None => it.arrivals.direct(self.now, sender),
            Some(_) => it.arrivals.repair(self.now, sender),
        }
    }

    /// A packet of a track: who gets it and who does not is known before.
    fn judge(
        &mut self,
        track: usize,
        id: u64,
        taken: Result<Taken, DropReason>,
        mut sent: Sent,
        dropped: &[DropReason],
    ) {
        let taken = match taken {
            Ok(taken) => taken,
            Err(reason) => {
                assert!(
                    sent.is_empty(),
                    "packet {id} is forwarded though it is {reason}"
                );
                assert_eq!(dropped, [reason], "packet {id}: why it is dropped");
                return self.count(reason.name(), 1);
            }
        };
        let is_wanted = |it: &Subscription| it.track == track;
        if self.subscriptions.values().any(is_wanted) {
            self.tracks[track].kept.insert(taken, self.now);
        }
        let it = &self.tracks[track];
        let (mut reasons, mut overtook) = (Vec::new(), 0);
        for subscription in self.subscriptions.values_mut().filter(|it| is_wanted(it)) {
            let connected = self.participants[subscription.subscriber].connected;
            let mut judge = |subscription: &mut Subscription, taken: Taken| {
                let packet = &it.publisher.published[taken.1 as usize];
                let fate = judge_one(subscription, taken, packet, connected, &mut sent);
                let fate = fate.unwrap_or_else(|| {
                    let to = subscription.spec.ssrc;
                    panic!("packet {taken:?} does not go out to {to:?}: {dropped:?}")
                });
                reasons.extend(fate.reason());
                fate
            };
            let fate = judge(subscription, taken);
            subscription.settle(taken, fate);
            if it.publisher.spec.kind == Kind::Video && subscription.begins_with(taken) {
                // At once behind it, in their order: they were not given to it when they came.
                for taken in overtakers(&it.kept, self.now, taken) {
                    let fate = judge(subscription, taken);
                    subscription.settle_anew(taken, fate);
                    overtook += 1;
                }
            }
        }
        assert!(sent.is_empty(), "packet {id} goes to who must not have it");
        reasons.sort_by_key(|reason| *reason as usize);
        assert_eq!(dropped, reasons, "packet {id}: each drop has its reason");
        self.count("overtook the first", overtook);
    }

    /// What a request brought: retransmissions of what was sent, or the very same datagrams.
    fn judge_repairs(&mut self, sent: Sent) {
        for (who, plain) in sent.iter().filter(|(_, plain)| !plain.is_empty()) {
            let view = RtpView::parse(plain).expect("RTP");
            let found = self.repaired(*who, &view);
            let (of, seq, payload) = found.expect("a repair is one of a subscription's streams");
            let out = self.unwrap_out(of, seq);
            let subscription = &self.subscriptions[&of];
            let publisher = &self.tracks[subscription.track].publisher;
            let published = |id| publisher.get(id).expect("it was published");
            subscription.on_repair(published, out, &view, payload);
        }
    }
}
