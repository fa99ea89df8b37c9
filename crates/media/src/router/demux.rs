//! What a datagram is (RFC 7983) and whose: STUN finds its transport by user fragment, everything else by
//! the path that a genuine check came by. What fails here leaves nothing behind but a count.

use crate::reasons::DropReason;
use crate::router::{Owner, Router};
use crate::slab::TransportKey;
use crate::transport::path::Path;
use crate::transport::sink::TransmitSink;
use crate::transport::srtp::SrtpError;
use crate::wire::rtp;
use std::time::Instant;

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

    /// The transport whose peer this path leads to. It is the one that is worked on from here.
    pub(super) fn transport_at(&mut self, path: Path) -> Result<TransportKey, DropReason> {
        let index = match self.addresses.get(&path) {
            Some(Owner::One(index)) if self.transports.get(*index).is_some() => *index,
            _ => return Err(DropReason::UnknownSource),
        };
        self.working_on = Some(index);
        Ok(index)
    }

    fn receive_media(
        &mut self,
        now: Instant,
        source: Path,
        datagram: &mut [u8],
        sink: &mut impl TransmitSink,
    ) -> Result<(), DropReason> {
        let index = self.transport_at(source)?;
        let transport = self
            .transports
            .get_mut(index)
            .ok_or(DropReason::UnknownSource)?;
        let srtp = transport.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let is_rtcp = rtp::is_rtcp(datagram);
        let opened = match is_rtcp {
            true => srtp.receiver.unprotect_rtcp(datagram),
            false => srtp.receiver.unprotect_rtp(datagram),
        };
        let len = opened.map_err(|error| drop_reason(error, is_rtcp))?;
        let is_newest = srtp.receiver.opened_the_newest();
        transport.traffic.packets_in += 1;
        transport.traffic.bytes_in += datagram.len() as u64;
        if transport.ice.path() != Some(source) {
            transport.ice.on_received(source, datagram.len());
            self.send_checks(now, index, sink);
        }
        if is_newest {
            self.prove_by_media(now, index, source, sink);
        }
        let packet = datagram.get(..len).ok_or(DropReason::BadLength)?;
        self.police(now, index, packet, is_rtcp, datagram.len())?;
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
