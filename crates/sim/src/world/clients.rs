//! What the clients of a [`World`] do: they send frames, keep their addresses known, ask for what they miss and answer
//! what they are asked for.

use crate::publisher::rtx_of;
use crate::world::World;
use crate::world::link::What;
use crate::world::said::ntp;
use parlour_media::Kind;
use parlour_media::num::{RtpTime, SeqNo, Ssrc};
use parlour_media::rtcp::{self, Rtcp, SenderInfo, parse_compound};
use parlour_media::rtp::{RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::srtp::SrtpError;
use std::net::SocketAddr;
use std::time::Duration;

impl World {
    pub(super) fn publish_frames(&mut self) {
        for track in 0..self.tracks.len() {
            self.tell_clock(track);
            let it = &mut self.tracks[track];
            let who = it.owner;
            let waits = it.next_frame.max(it.silent_until) > self.now;
            if !it.live || waits || !self.participants[who].connected {
                continue;
            }
            let is_video = it.publisher.spec.kind == Kind::Video;
            it.next_frame = self.now + Duration::from_millis(if is_video { 33 } else { 20 });
            for (id, plain) in it.publisher.frame(self.now - self.started, &mut self.rng) {
                let sender = self.tracks[track].publisher.published[id as usize].sender;
                let sealed = self.participants[who].client.seal(&plain, sender.number);
                self.send(who, What::Media(track, id), sealed);
            }
        }
    }

    /// A publisher tells what its clock shows (RFC 3550 §6.4.1). Most have the same time of day.
    fn tell_clock(&mut self, track: usize) {
        let it = &mut self.tracks[track];
        let who = it.owner;
        if !it.live || it.next_clock > self.now || !self.participants[who].connected {
            return;
        }
        it.next_clock = self.now + Duration::from_secs(1);
        let at = self.now - self.started;
        let info = SenderInfo {
            ntp: ntp(at + it.ahead),
            rtp_time: RtpTime(it.publisher.clock(at)),
            packets: it.publisher.count() as u32,
            octets: 0,
        };
        let mut buffer = [0; 100];
        let len = rtcp::write_sender_report(&mut buffer, it.publisher.ssrc, &info, &[]);
        let what = What::Clock(track, it.publisher.ssrc, it.publisher.epoch());
        let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
        self.send(who, what, sealed);
    }

    pub(super) fn live(&mut self, who: usize) {
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
            let all = self.subscriptions.iter();
            let ours: Vec<Ssrc> = all
                .filter(|(_, it)| it.subscriber == who)
                .map(|(of, _)| *of)
                .collect();
            ours.into_iter().for_each(|of| self.ask_for_repairs(of));
        }
    }

    /// A subscriber asks for what it misses of the newest numbers; at times for a keyframe.
    fn ask_for_repairs(&mut self, of: Ssrc) {
        let subscription = &self.subscriptions[&of];
        if self.tracks[subscription.track()].publisher.spec.kind == Kind::Audio {
            return;
        }
        let Some(newest) = subscription.newest else {
            return;
        };
        let first = subscription.sent.first_key_value();
        let oldest = *first.expect("what came was sent").0;
        let missing = (newest.saturating_sub(60).max(oldest)..newest)
            .filter(|out| {
                !subscription.delivered.contains(out) && !subscription.repaired.contains(out)
            })
            .map(|out| SeqNo(out as u16))
            .collect::<Vec<_>>();
        let who = subscription.subscriber;
        let mut buffer = [0; 1400];
        let len = rtcp::write_nack(&mut buffer, Ssrc(9), of, &missing);
        if len > 0 {
            let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
            self.send(who, What::Nack(of, missing.len()), sealed);
        }
        if self.rng.below(200) == 0 {
            let len = rtcp::write_pli(&mut buffer, Ssrc(9), of);
            let sealed = self.participants[who].client.seal_rtcp(&buffer[..len]);
            self.send(who, What::Rtcp, sealed);
        }
    }

    /// A datagram reaches a client, if that is still there and where it goes to.
    pub(super) fn deliver(
        &mut self,
        who: usize,
        to: SocketAddr,
        which: Option<(Ssrc, u64)>,
        datagram: &mut [u8],
    ) {
        let participant = &mut self.participants[who];
        let client = &mut participant.client;
        if !participant.here || client.address != to {
            if let Some(which) = which {
                self.lose(which);
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
            participant.reports.note(self.now, &datagram[..*len]);
        }
        if let Some((of, out)) = which {
            // A copy came first, or one sent late came behind too many newer ones.
            let is_there = matches!(opened, Ok(_) | Err(SrtpError::Replayed | SrtpError::TooOld));
            assert!(is_there, "{opened:?}: number {out} of {of:?}");
            if let Some(subscription) = self.subscriptions.get_mut(&of) {
                subscription.delivered.insert(out);
                subscription.newest = subscription.newest.max(Some(out));
            }
            return;
        }
        let Ok(len) = opened else { return };
        let view = RtpView::parse(&datagram[..len]).expect("RTP");
        let Some((of, seq, _)) = self.repaired(who, &view) else {
            return;
        };
        let out = self.unwrap_out(of, seq);
        let subscription = self.subscriptions.get_mut(&of).expect("it was found");
        subscription.repaired.insert(out);
    }

    /// What a packet of a subscriber's repairs: the subscription, the number and the payload. None: the subscription is
    /// over, or it is padding.
    pub(super) fn repaired<'a>(
        &self,
        who: usize,
        view: &RtpView<'a>,
    ) -> Option<(Ssrc, SeqNo, &'a [u8])> {
        if self.subscriptions.contains_key(&view.ssrc()) {
            return Some((view.ssrc(), view.seq(), view.payload()));
        }
        let mut all = self.subscriptions.iter();
        let (of, _) =
            all.find(|(_, it)| it.subscriber == who && it.spec.rtx_ssrc == Some(view.ssrc()))?;
        assert_eq!(rtx_of(*of), view.ssrc());
        let (original, payload) = view.payload().split_at_checked(2)?;
        let seq = u16::from_be_bytes([original[0], original[1]]);
        Some((*of, SeqNo(seq), payload))
    }

    /// What the router asks a publisher for. A request for what a track was before comes too late.
    fn heed(&mut self, who: usize, packet: &[u8]) {
        let track_of = |world: &World, ssrc: Ssrc| {
            let is_it = |it: &super::Track| it.owner == who && it.live && it.publisher.ssrc == ssrc;
            world.tracks.iter().position(is_it)
        };
        for part in parse_compound(packet) {
            match part.expect("RTCP of the router") {
                Rtcp::Pli { media, .. } => {
                    if let Some(track) = track_of(self, media) {
                        self.tracks[track].publisher.wants_keyframe = true;
                    }
                }
                Rtcp::Nack { media, lost, .. } => {
                    let Some(track) = track_of(self, media) else {
                        continue;
                    };
                    let publisher = &self.tracks[track].publisher;
                    assert_eq!(
                        publisher.spec.kind,
                        Kind::Video,
                        "audio is not asked for again"
                    );
                    let ids: Vec<u64> = lost.filter_map(|seq| publisher.find(seq)).collect();
                    for id in ids {
                        let Some((rtx, plain)) = self.tracks[track].publisher.repair(id) else {
                            continue;
                        };
                        let sealed = self.participants[who].client.seal(&plain, rtx);
                        self.send(who, What::Repair(track, rtx, id), sealed);
                    }
                }
                _ => {}
            }
        }
    }
}
