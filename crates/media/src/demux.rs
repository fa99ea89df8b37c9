//! What a datagram is (RFC 7983) and whose: STUN finds its transport by user fragment, everything else by
//! the address that STUN has validated. What fails here leaves nothing behind but a count.

use crate::ice::Check;
use crate::path::Path;
use crate::router::{Router, send_plain};
use crate::rtp;
use crate::sink::TransmitSink;
use crate::srtp::SrtpError;
use crate::stats::DropReason;
use crate::stun::{self, StunMessage};
use std::time::{Duration, Instant};

/// An address whose transport was checked from within this time is not given to another: browsers check
/// every 2.5 s, so two of them were missed when it is.
const ADDRESS_HOLD: Duration = Duration::from_secs(5);

/// The peer thinks it is the controlled side, as we always are (RFC 8445 §7.3.1.1).
const ROLE_CONFLICT: u16 = 487;

/// An attribute that must be understood is not (RFC 8489 §6.3.1).
const UNKNOWN_ATTRIBUTE: u16 = 420;

impl Router {
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &mut [u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        match datagram.first() {
            Some(0..=3) => self.receive_stun(now, source, datagram, sink),
            Some(20..=63) => self.receive_dtls(now, source, datagram, sink),
            Some(128..=191) => self.receive_media(now, source, datagram, sink),
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    fn receive_stun(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let message = StunMessage::parse(datagram).map_err(|_| DropReason::StunMalformed)?;
        if !message.is_binding_request() {
            return Err(DropReason::StunNotRequest);
        }
        if !message.has_valid_fingerprint() {
            return Err(DropReason::StunMalformed);
        }
        let username = message.username().ok_or(DropReason::StunUnknownUser)?;
        let (ufrag, _) = username
            .split_once(':')
            .ok_or(DropReason::StunUnknownUser)?;
        let index = *self.ufrags.get(ufrag).ok_or(DropReason::StunUnknownUser)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::StunUnknownUser)?;
        if !transport.ice.is_for_us(username) {
            return Err(DropReason::StunUnknownUser);
        }
        self.working_on = Some(index);
        if !message.verify_integrity(transport.ice.local_pwd.as_bytes()) {
            return Err(DropReason::StunBadIntegrity);
        }
        let refusal = match () {
            () if !message.unknown_required().is_empty() => Some(UNKNOWN_ATTRIBUTE),
            () if message.ice_controlled().is_some() => Some(ROLE_CONFLICT),
            () => None,
        };
        let transaction = message.transaction_id();
        if let Some(code) = refusal {
            let buffer = sink.buffer(source, stun::MAX_WRITTEN_LEN);
            let password = transport.ice.local_pwd.as_bytes();
            let len = stun::write_binding_error(
                buffer,
                transaction,
                code,
                password,
                message.unknown_required(),
            );
            if len > 0 {
                sink.commit(len);
            }
            return Err(DropReason::StunRefused);
        }
        self.claim_address(now, source, index)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::StunUnknownUser)?;
        match transport
            .ice
            .on_check(now, source, transaction, message.use_candidate())
        {
            Check::Known => {}
            Check::New { replaced } => {
                self.addresses.insert(source, index);
                if let Some(old) = replaced {
                    self.addresses.remove(&old);
                }
            }
            Check::TooManyAddresses => return Err(DropReason::StunTooManyAddresses),
            Check::Replayed => return Err(DropReason::StunReplayed),
        }
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        let buffer = sink.buffer(source, stun::MAX_WRITTEN_LEN);
        let len = stun::write_binding_success(
            buffer,
            transaction,
            source.remote,
            transport.ice.local_pwd.as_bytes(),
        );
        if len > 0 {
            sink.commit(len);
            transport.traffic.packets_out += 1;
            transport.traffic.bytes_out += len as u64;
        }
        if transport.validated_at.is_none() {
            transport.validated_at = Some(now);
            self.wake(index, now);
        }
        Ok(())
    }

    /// Takes an address from another transport, unless that one's peer is alive there.
    fn claim_address(
        &mut self,
        now: Instant,
        source: Path,
        index: usize,
    ) -> Result<(), DropReason> {
        let Some(&owner) = self.addresses.get(&source).filter(|owner| **owner != index) else {
            return Ok(());
        };
        if let Some(other) = self.transports.get_mut(owner) {
            let last = other.ice.last_check(source);
            if last.is_some_and(|at| now.saturating_duration_since(at) < ADDRESS_HOLD) {
                return Err(DropReason::StunAddressTaken);
            }
            other.ice.forget(source);
            // It is without a path now, or on another: what is due is to be seen anew.
            self.wake(owner, now);
        }
        self.addresses.remove(&source);
        Ok(())
    }

    fn receive_dtls(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &[u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let index = *self
            .addresses
            .get(&source)
            .ok_or(DropReason::UnknownSource)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        self.working_on = Some(index);
        if !transport.dtls.admit(now) {
            return Err(DropReason::DtlsTooMany);
        }
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        let path = transport.ice.path();
        let send = |packet: &[u8]| send_plain(sink, path, packet);
        let progress = transport
            .dtls
            .handle_datagram(now, datagram, &self.dtls, send);
        self.after_dtls(now, index, progress, sink);
        Ok(())
    }

    fn receive_media(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &mut [u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let index = *self
            .addresses
            .get(&source)
            .ok_or(DropReason::UnknownSource)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        self.working_on = Some(index);
        let srtp = transport.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let is_rtcp = rtp::is_rtcp(datagram);
        let opened = match is_rtcp {
            true => srtp.receiver.unprotect_rtcp(datagram),
            false => srtp.receiver.unprotect_rtp(datagram),
        };
        let len = opened.map_err(|error| drop_reason(error, is_rtcp))?;
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        let packet = datagram.get(..len).ok_or(DropReason::BadLength)?;
        match is_rtcp {
            true => self.receive_rtcp(now, index, packet, sink),
            false => self.receive_rtp(now, index, packet, sink),
        }
    }
}

fn drop_reason(error: SrtpError, is_rtcp: bool) -> DropReason {
    match error {
        SrtpError::BadTag => DropReason::BadTag,
        SrtpError::Replayed => DropReason::Replayed,
        SrtpError::TooOld => DropReason::TooOld,
        SrtpError::TooManyStreams => DropReason::TooManySources,
        SrtpError::NotEncrypted => DropReason::RtcpMalformed,
        SrtpError::Malformed if is_rtcp => DropReason::RtcpMalformed,
        SrtpError::Malformed => DropReason::RtpMalformed,
        _ => DropReason::BadLength,
    }
}
