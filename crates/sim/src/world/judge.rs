//! What arrives in a [`World`], and whether the router did with it what it must.

use crate::publisher::Published;
use crate::subscription::Fate;
use crate::world::link::{InFlight, Way, What};
use crate::world::{Sent, World};
use parlour_media::num::{SeqNo, Ssrc};
use parlour_media::rtcp::{Rtcp, parse_compound};
use parlour_media::rtp::{RtpHeader, RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::srtp::SrtpError;
use parlour_media::{DropReason, Kind};
use std::net::SocketAddr;

/// Numbers of a track that the router looks through.
const KEPT: u64 = 512;

impl World {
    pub(crate) fn arrive(&mut self, it: InFlight) {
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
        let is_known = self.participants[who].known.contains(&source);
        self.router
            .handle_datagram(self.now, self.now, source, datagram, &mut self.sink);
        self.router.forward(self.now, &mut self.sink);
        let sent = self.collect();
        let dropped = self.dropped(&before);
        // The guard below the numbering is there for faults: a router without faults never meets it.
        assert!(
            !dropped.contains(&DropReason::IndexUsed),
            "a second packet under one index"
        );
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
                if is_asked && !self.participants[who].connected {
                    self.participants[who].connected = true;
                    let before = self.router.drops().clone();
                    let client = &self.participants[who].client;
                    client.connect(&mut self.router, self.now);
                    self.nothing_but_control(&before);
                }
            }
            _ if !is_known => {
                assert!(sent.is_empty(), "a stranger is served");
                assert_eq!(dropped, [DropReason::UnknownSource]);
            }
            What::Media(track, number) => {
                let taken = self.tracks[*track].arrivals.direct(*number);
                self.judge(*track, *number, taken, sent, &dropped);
            }
            What::Repair(track, rtx, number) => {
                let taken = self.tracks[*track].arrivals.repair(*rtx, *number);
                self.judge(*track, *number, taken, sent, &dropped);
            }
            What::Nack(ssrc, asked) => {
                let is_over = !self.subscriptions.iter().any(|it| it.spec.ssrc == *ssrc);
                let answered = sent.len() + dropped.len();
                let is_second = dropped == [DropReason::Replayed] && sent.is_empty();
                assert!(
                    is_over || is_second || answered == *asked,
                    "{asked} numbers are asked for, {} are sent, {dropped:?}",
                    sent.len()
                );
                self.judge_repairs(sent);
            }
            What::Rtcp => {
                assert!(sent.is_empty() && dropped.iter().all(|it| *it == DropReason::Replayed));
            }
        }
    }

    /// A packet of a track: who gets it and who does not is known before.
    fn judge(
        &mut self,
        track: usize,
        number: u64,
        taken: Result<(), DropReason>,
        mut sent: Sent,
        dropped: &[DropReason],
    ) {
        if let Err(reason) = taken {
            assert!(
                sent.is_empty(),
                "packet {number} is forwarded though it is {reason}"
            );
            assert_eq!(dropped, [reason], "packet {number}");
            return;
        }
        let packet = self.tracks[track].publisher.get(number);
        let packet = packet.expect("what came was published").clone();
        if self.subscriptions.iter().any(|it| it.track == track) {
            self.tracks[track].kept.insert(number);
        }
        let mut reasons = Vec::new();
        for at in 0..self.subscriptions.len() {
            if self.subscriptions[at].track != track {
                continue;
            }
            let fate = self.judge_one(at, number, &packet, &mut sent);
            let fate =
                fate.unwrap_or_else(|| panic!("packet {number} does not go out: {dropped:?}"));
            self.subscriptions[at].settle(number, fate);
            reasons.extend(fate.reason());
            if self.subscriptions[at].begins_with(number) {
                self.judge_overtakers(at, number, &mut sent, &mut reasons);
            }
        }
        assert!(
            sent.is_empty(),
            "packet {number} goes to who must not have it"
        );
        reasons.sort_by_key(|reason| *reason as usize);
        assert_eq!(
            dropped, reasons,
            "packet {number}: each drop has its reason"
        );
    }

    /// What becomes of a packet for one subscription; None: it has to go out and does not.
    fn judge_one(
        &mut self,
        at: usize,
        number: u64,
        packet: &Published,
        sent: &mut Sent,
    ) -> Option<Fate> {
        let subscription = &mut self.subscriptions[at];
        let who = subscription.subscriber;
        let connected = self.participants[who].connected;
        let expected = match subscription.expect(number, packet, connected) {
            Fate::Dropped(reason) => return Some(Fate::Dropped(reason)),
            Fate::Sent(expected) => expected,
        };
        let ssrc = subscription.spec.ssrc;
        let is_it = |(to, plain): &(usize, Vec<u8>)| {
            *to == who && RtpHeader::parse(plain).is_ok_and(|it| it.ssrc == ssrc)
        };
        let (_, plain) = sent.remove(sent.iter().position(is_it)?);
        let view = RtpView::parse(&plain).expect("RTP");
        let out = self.unwrap_out(at, view.seq());
        self.subscriptions[at].on_sent(number, packet, expected, out, &view);
        Some(Fate::Sent(out))
    }

    /// A decoder begins with a packet that others overtook: they go out behind it at once, in their order.
    fn judge_overtakers(
        &mut self,
        at: usize,
        first: u64,
        sent: &mut Sent,
        reasons: &mut Vec<DropReason>,
    ) {
        let track = &self.tracks[self.subscriptions[at].track];
        if track.publisher.spec.kind == Kind::Audio {
            return; // which is not kept
        }
        let kept = &track.kept;
        let later: Vec<u64> = (first + 1..=first + KEPT)
            .filter(|it| kept.contains(it))
            .collect();
        for number in later {
            let track = self.subscriptions[at].track;
            let packet = self.tracks[track].publisher.get(number);
            let packet = packet.expect("what came was published").clone();
            let fate = self.judge_one(at, number, &packet, sent);
            let fate = fate.unwrap_or_else(|| panic!("packet {number} overtook and is not sent"));
            self.subscriptions[at].settle_anew(number, fate);
            reasons.extend(fate.reason());
        }
    }

    /// What a request brought: retransmissions of what was sent, or the very same datagrams.
    fn judge_repairs(&mut self, sent: Sent) {
        for (who, plain) in sent.iter().filter(|(_, plain)| !plain.is_empty()) {
            let view = RtpView::parse(plain).expect("RTP");
            let at = self.subscriptions.iter().position(|it| {
                let ours = [Some(it.spec.ssrc), it.spec.rtx_ssrc];
                it.subscriber == *who && ours.contains(&Some(view.ssrc()))
            });
            let at = at.expect("a repair is one of a subscription's streams");
            let (seq, payload) = match self.subscriptions[at].spec.ssrc == view.ssrc() {
                true => (view.seq(), view.payload()),
                false => {
                    let (original, payload) = view.payload().split_at(2);
                    let seq = u16::from_be_bytes([original[0], original[1]]);
                    (SeqNo(seq), payload)
                }
            };
            let out = self.unwrap_out(at, seq);
            let subscription = &mut self.subscriptions[at];
            let publisher = &self.tracks[subscription.track].publisher;
            let published = |number| publisher.get(number).expect("it was published").clone();
            subscription.on_repair(published, out, &view, payload);
        }
    }

    /// A datagram reaches a client, if that is still where it goes to.
    fn deliver(
        &mut self,
        who: usize,
        to: SocketAddr,
        which: Option<(usize, u64)>,
        datagram: &mut [u8],
    ) {
        let client = &mut self.participants[who].client;
        if client.address != to {
            if let Some((at, out)) = which {
                self.subscriptions[at].lost.insert(out);
            }
            return;
        }
        if !is_rtp_or_rtcp(datagram) {
            if let Some(answer) = client.answer(datagram) {
                self.send(who, What::Answer, answer);
            }
            return;
        }
        if is_rtcp(datagram) {
            if let Ok(len) = client.receiver.unprotect_rtcp(datagram) {
                self.heed(who, &datagram[..len]);
            }
            return;
        }
        let opened = client.receiver.unprotect_rtp(datagram);
        if let Ok(len) = &opened {
            self.participants[who]
                .reports
                .note(self.now, &datagram[..*len]);
        }
        if let Some((at, out)) = which {
            // A copy came first, or one sent late came behind too many newer ones.
            let is_there = matches!(opened, Ok(_) | Err(SrtpError::Replayed | SrtpError::TooOld));
            assert!(
                is_there,
                "{opened:?}: number {out} of {:?}",
                self.subscriptions[at].spec.consumer
            );
            self.subscriptions[at].delivered.insert(out);
            return;
        }
        let Ok(len) = opened else { return };
        let view = RtpView::parse(&datagram[..len]).expect("RTP");
        let found = self.subscriptions.iter().position(|it| {
            it.subscriber == who
                && [Some(it.spec.ssrc), it.spec.rtx_ssrc].contains(&Some(view.ssrc()))
        });
        let Some(at) = found else { return };
        let seq = match self.subscriptions[at].spec.ssrc == view.ssrc() {
            true => view.seq(),
            false => SeqNo(u16::from_be_bytes([view.payload()[0], view.payload()[1]])),
        };
        let out = self.unwrap_out(at, seq);
        self.subscriptions[at].repaired.insert(out);
    }

    /// What the router asks a publisher for.
    fn heed(&mut self, who: usize, packet: &[u8]) {
        let track_of = |world: &World, ssrc: Ssrc| {
            let tracks = world.tracks.iter();
            tracks
                .enumerate()
                .position(|(_, it)| it.publisher.ssrc == ssrc)
        };
        for part in parse_compound(packet) {
            match part.expect("RTCP of the router") {
                Rtcp::Pli { media, .. } => {
                    if let Some(track) = track_of(self, media) {
                        self.tracks[track].publisher.wants_keyframe = true;
                    }
                }
                Rtcp::Nack { media, lost, .. } => {
                    let track = track_of(self, media).expect("a stream of ours");
                    assert_eq!(self.tracks[track].publisher.spec.kind, Kind::Video);
                    for seq in lost {
                        let publisher = &mut self.tracks[track].publisher;
                        let number = publisher.unwrap(seq).expect("a number of ours");
                        let Some((rtx, plain)) = publisher.repair(number) else {
                            continue;
                        };
                        // Its own numbers wrap as well.
                        let sealed = self.participants[who].client.seal(&plain, rtx);
                        self.send(who, What::Repair(track, rtx, number), sealed);
                    }
                }
                _ => {}
            }
        }
    }
}
