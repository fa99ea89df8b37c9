//! Offers and answers, and what an m-line carries from one to the next.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::Candidate;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::Protocol;

use super::{Error, Peer, failed};
use crate::event::Kind;

/// A local description that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The SDP text.
    pub sdp: String,
    /// The m-lines of the tracks that were asked for, in that order.
    pub mids: Vec<Mid>,
}

impl Peer {
    /// Offer to send tracks of these kinds beside those that are sent, and to stop sending on `stop`.
    ///
    /// # Errors
    /// When nothing would change, or the peer is closed.
    pub fn create_offer(
        &mut self,
        now: Instant,
        add: &[Kind],
        stop: &[Mid],
    ) -> Result<Offer, Error> {
        self.alive()?;
        let mut api = self.rtc.sdp_api();
        let mids: Vec<Mid> = add
            .iter()
            .map(|kind| {
                let kind = match kind {
                    Kind::Audio => MediaKind::Audio,
                    Kind::Video => MediaKind::Video,
                };
                api.add_media(kind, Direction::SendOnly, None, None, None)
            })
            .collect();
        for mid in stop {
            api.set_direction(*mid, Direction::Inactive);
        }
        let (offer, pending) = api.apply().ok_or_else(|| {
            Error("there is nothing to offer: no track is added or stopped".into())
        })?;
        self.pending = Some(pending);
        self.kinds
            .extend(mids.iter().copied().zip(add.iter().copied()));
        self.drain(now);
        Ok(Offer {
            sdp: offer.to_sdp_string(),
            mids,
        })
    }

    /// Offer new ICE credentials for the connection there is (RFC 8445 §9): it may have another address by now.
    ///
    /// # Errors
    /// When the peer is closed.
    pub fn create_ice_restart(&mut self, now: Instant) -> Result<String, Error> {
        self.alive()?;
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api
            .apply()
            .ok_or_else(|| Error("there is no connection to restart".into()))?;
        self.pending = Some(pending);
        self.drain(now);
        Ok(offer.to_sdp_string())
    }

    /// We are at this address from the next ICE restart on: the ones before go with what that takes the place of.
    ///
    /// # Errors
    /// When the peer is closed or the address cannot be a candidate.
    pub fn move_to(&mut self, now: Instant, address: SocketAddr) -> Result<(), Error> {
        self.alive()?;
        let candidate = Candidate::host(address, Protocol::Udp)
            .map_err(|error| Error(format!("{address} cannot be a host candidate: {error}")))?;
        let before = std::mem::take(&mut self.local);
        self.left.extend(before);
        self.local.push(candidate.clone());
        self.rtc.add_local_candidate(candidate);
        self.drain(now);
        Ok(())
    }

    /// A restart was agreed on: no path is looked for from where we are no more.
    fn leave_addresses(&mut self) {
        for candidate in std::mem::take(&mut self.left) {
            self.rtc.direct_api().invalidate_candidate(&candidate);
        }
    }

    /// Take the answer to the last offer.
    ///
    /// # Errors
    /// When no offer waits for one, or the answer cannot be read or does not fit.
    pub fn accept_answer(&mut self, now: Instant, sdp: &str) -> Result<(), Error> {
        self.alive()?;
        let answer = SdpAnswer::from_sdp_string(sdp)
            .map_err(|error| Error(format!("unreadable answer: {error}")))?;
        let pending = self
            .pending
            .take()
            .ok_or_else(|| Error("no offer waits for an answer".into()))?;
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .map_err(failed("the answer does not fit"))?;
        self.leave_addresses();
        self.drain(now);
        Ok(())
    }

    /// Take an offer and answer it as the DTLS client.
    ///
    /// # Errors
    /// When the offer cannot be read or contradicts what was agreed.
    pub fn accept_offer(&mut self, now: Instant, sdp: &str) -> Result<String, Error> {
        self.alive()?;
        // RFC 5763 §5 leaves the choice to the answerer and advises `active`: it saves half a round trip, and the
        // server then picks the cipher. str0m would choose `passive`, so it is shown an offer without that choice.
        let offer = sdp.replace("a=setup:actpass", "a=setup:passive");
        let offer = SdpOffer::from_sdp_string(&offer)
            .map_err(|error| Error(format!("unreadable offer: {error}")))?;
        self.pending = None;
        self.forget_reused_lines(now, sdp);
        let answer = self
            .rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(failed("the offer cannot be accepted"))?;
        self.leave_addresses();
        self.drain(now);
        Ok(answer.to_sdp_string())
    }

    /// str0m keeps what an m-line was first negotiated for, and puts frames together across a change of SSRC: packets
    /// of a new track whose sequence numbers begin below the old ones would count as late. When the server uses an
    /// m-line again, the receiver of the old track has to go first.
    fn forget_reused_lines(&mut self, now: Instant, offer: &str) {
        for section in offer.split("\nm=").skip(1) {
            let lines = || section.lines().map(str::trim_end);
            let mut carries: Vec<&str> =
                lines().filter(|line| line.starts_with("a=ssrc:")).collect();
            let Some(mid) = lines().find_map(|line| line.strip_prefix("a=mid:")) else {
                continue;
            };
            if carries.is_empty() {
                continue;
            }
            carries.extend(lines().next());
            let (mid, carries) = (Mid::from(mid), carries.join(" "));
            if self
                .carried
                .insert(mid, carries.clone())
                .is_some_and(|before| before != carries)
            {
                self.rtc.direct_api().remove_media(mid);
                self.keyframe_asked.remove(&mid);
                self.drain(now);
            }
        }
    }
}
