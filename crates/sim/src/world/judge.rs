//! What arrives at the router of a [`World`], and what of it is taken in.

use crate::arrivals::Taken;
use crate::memory::metered;
use crate::publisher::rtx_of;
use crate::world::link::{InFlight, Way, What};
use crate::world::{Sent, World};
use parlour_media::DropReason;
use parlour_media::rtp::RtpView;
use std::net::SocketAddr;
use std::time::Duration;

/// Without media for so long a track pauses.
const PAUSE: Duration = Duration::from_millis(500);

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
        let is_batched = self.is_batched;
        metered(|| {
            router.handle_datagram(now, now, source, datagram, sink);
            if !is_batched {
                router.forward(now, sink);
            }
        });
        let mut sent = self.collect();
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
        let is_of = |reasons: &[DropReason]| {
            let all = dropped.iter().copied();
            all.filter(|it| reasons.contains(it)).collect::<Vec<_>>()
        };
        if let What::Clock(track, ssrc, epoch) = *what
            && dropped.is_empty()
            && self.tracks[track].arrivals.ssrc() == Some(ssrc)
        {
            let of = self.tracks[track].arrivals.epoch;
            self.tracks[track].clock = Some((of, epoch));
        }
        let reasons = match what {
            What::Stun => {
                self.participants[who].known.insert(source);
                Vec::new()
            }
            What::Answer => {
                // One that comes twice, or too late, is not asked for any more.
                let is_asked = dropped != [DropReason::StunUnasked];
                if is_asked && !participant.connected {
                    assert!(sent.is_empty() && dropped.is_empty(), "{dropped:?}");
                    return self.connect(who);
                }
                is_of(&[DropReason::StunUnasked])
            }
            What::Media(track, id) => {
                let taken = self.take(who, *track, *id, None);
                self.keep(*track, *id, taken)
            }
            What::Repair(track, rtx, id) => {
                let taken = self.take(who, *track, *id, Some(*rtx));
                self.keep(*track, *id, taken)
            }
            What::Nack(of, asked) => {
                let answered = match self.subscriptions.contains_key(of) {
                    true => *asked,
                    false => 0,
                };
                let is_second = dropped == [DropReason::Replayed] && sent.is_empty();
                let ends = dropped.contains(&DropReason::RtcpOverBudget);
                let told = sent.len() + dropped.len();
                assert!(
                    is_second || told == answered || ends && told <= answered.max(1),
                    "{asked} numbers of {of:?} are asked for, {} are sent, {dropped:?}",
                    sent.len()
                );
                self.judge_repairs(std::mem::take(&mut sent));
                dropped
            }
            // Before the first feedback comes, the router keeps in mind the last 512 packets that it sent.
            What::Rtcp | What::Clock(..) => match dropped[..] {
                [DropReason::Replayed] => dropped,
                _ => is_of(&[DropReason::FeedbackForgotten, DropReason::RtcpOverBudget]),
            },
        };
        self.settle(&before, reasons, sent, !is_batched);
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

    /// A packet of a track is kept while somebody may get it. Returns why it is dropped if it is.
    fn keep(&mut self, track: usize, id: u64, taken: Result<Taken, DropReason>) -> Vec<DropReason> {
        let taken = match taken {
            Ok(taken) => taken,
            Err(reason) => {
                self.count(reason.name(), 1);
                return vec![reason];
            }
        };
        let now = self.now;
        let is_kept = self.subscriptions.values().any(|it| it.listens_to(track));
        let it = &mut self.tracks[track];
        let packet = it.publisher.get(id).expect("what came was published");
        if !packet.payload.is_empty() {
            let goes_on = it.media.filter(|(_, last)| now - *last < PAUSE);
            it.media = Some((goes_on.map_or(now, |(since, _)| since), now));
        }
        if it.publisher.published[id as usize].starts {
            it.arrivals
                .on_keyframe(it.publisher.published[id as usize].sender);
        }
        if is_kept {
            it.places.insert(taken, it.kept.len());
            it.kept.push((taken, now));
            self.has_kept = true;
        }
        Vec::new()
    }

    /// What a request brought: retransmissions of what was sent, or the very same datagrams.
    fn judge_repairs(&mut self, sent: Sent) {
        for (who, plain) in sent.iter().filter(|(_, plain)| !plain.is_empty()) {
            let view = RtpView::parse(plain).expect("RTP");
            let found = self.repaired(*who, &view);
            let (of, seq, payload) = found.expect("a repair is one of a subscription's streams");
            let out = self.unwrap_out(of, seq);
            self.subscriptions[&of].on_repair(out, &view, payload);
        }
    }
}
