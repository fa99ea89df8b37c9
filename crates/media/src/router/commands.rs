//! Doing what the control plane asks.

use crate::egress::consumer::{Consumer, Places};
use crate::egress::sources::Sources;
use crate::egress::spec::{ConsumerSpec, MAX_SOURCES};
use crate::ids::TransportId;
use crate::ingress::keyframe_requests::Need;
use crate::ingress::spec::ProducerSpec;
use crate::ingress::speech::Watch;
use crate::ingress::track::{Presence, Track};
use crate::reasons::{CloseReason, RefuseReason};
use crate::router::command::Command;
use crate::router::demand::NEW;
use crate::router::sources::LOOK_INTERVAL;
use crate::router::{MAX_TRANSPORTS, Router};
use crate::slab::{ConsumerKey, TransportKey};
use crate::transport::dtls::{DtlsRole, DtlsSession};
use crate::transport::ice::{Ice, Remote};
use crate::transport::sink::TransmitSink;
use crate::transport::{DtlsTo, Stream, Transport};
use crate::wire::codecs::Codec;
use crate::wire::codecs::Kind;
use crate::wire::extensions;
use crate::wire::num::{PayloadType, Ssrc};
use std::time::Instant;

/// Tracks one peer may publish: camera, microphone, screen with its sound, each several times over.
pub const MAX_PRODUCERS: usize = 32;

/// Tracks one peer may receive: audio and video of every publisher of a full room, and screens.
pub const MAX_CONSUMERS: usize = 512;

/// A MID or RID must fit a one-byte header extension (RFC 8285 §4.2).
const MAX_MID: usize = 16;

/// RFC 8445 §5.3 lets user fragments have 4 to 256 characters and passwords 22 to 256.
const UFRAG_LEN: std::ops::RangeInclusive<usize> = 4..=256;
const PWD_LEN: std::ops::RangeInclusive<usize> = 22..=256;

impl Router {
    /// What a refusal of this command is about.
    pub(crate) fn subject(&self, command: &Command) -> (TransportId, u64) {
        match command {
            Command::AddTransport { transport, .. }
            | Command::SetRemote { transport, .. }
            | Command::RestartIce { transport, .. }
            | Command::RemoveTransport { transport } => (*transport, 0),
            Command::AddProducer(spec) => (spec.transport, spec.producer.0),
            Command::AddConsumer(spec) => (spec.transport, spec.consumer.0),
            Command::RemoveProducer { producer } | Command::WatchLevel { producer, .. } => {
                let index = self.track_ids.get(producer);
                let known = index.and_then(|index| self.tracks.get(*index));
                (
                    known.map_or(TransportId(0), |known| known.spec.transport),
                    producer.0,
                )
            }
            Command::RemoveConsumer { consumer }
            | Command::SetConsumerSource { consumer, .. }
            | Command::SetConsumerPaused { consumer, .. } => {
                let index = self.consumer_ids.get(consumer);
                let known = index.and_then(|index| self.consumers.get(*index));
                (
                    known.map_or(TransportId(0), |known| known.spec.transport),
                    consumer.0,
                )
            }
        }
    }

    pub(crate) fn execute(
        &mut self,
        now: Instant,
        command: Command,
        sink: &mut impl TransmitSink,
    ) -> Result<(), RefuseReason> {
        match command {
            Command::AddTransport {
                transport,
                local_ufrag,
                local_pwd,
            } => self.add_transport(transport, local_ufrag, local_pwd),
            Command::SetRemote {
                transport,
                remote_ufrag,
                remote_pwd,
                fingerprint,
                role,
            } => {
                let remote = Remote {
                    ufrag: remote_ufrag,
                    pwd: remote_pwd,
                };
                self.set_remote(now, transport, remote, (fingerprint, role), sink)
            }
            Command::RestartIce {
                transport,
                local_ufrag,
                local_pwd,
            } => self.restart_ice(transport, local_ufrag, local_pwd),
            // What is to end and has ended, by its peer or with what it belonged to, is as it should be.
            Command::RemoveTransport { transport } => {
                if let Ok(index) = self.transport_index(transport) {
                    self.close(now, index, CloseReason::Removed, sink);
                }
                Ok(())
            }
            Command::AddProducer(spec) => self.add_producer(now, spec),
            Command::RemoveProducer { producer } => {
                if let Some(index) = self.track_ids.get(&producer).copied() {
                    self.remove_track(index);
                }
                Ok(())
            }
            Command::WatchLevel { producer, every } => {
                let track = self.track_ids.get(&producer);
                let track = track.and_then(|index| self.tracks.get_mut(*index));
                let track = track.ok_or(RefuseReason::UnknownProducer)?;
                track.watch = every.map(Watch::new);
                Ok(())
            }
            Command::AddConsumer(spec) => self.add_consumer(now, spec),
            Command::RemoveConsumer { consumer } => {
                if let Some(index) = self.consumer_ids.get(&consumer).copied() {
                    self.remove_consumer(index);
                }
                Ok(())
            }
            Command::SetConsumerSource {
                consumer,
                source,
                temporal,
            } => {
                let index = *self
                    .consumer_ids
                    .get(&consumer)
                    .ok_or(RefuseReason::UnknownConsumer)?;
                self.want_source(now, index, source, temporal);
                Ok(())
            }
            Command::SetConsumerPaused { consumer, paused } => {
                let index = *self
                    .consumer_ids
                    .get(&consumer)
                    .ok_or(RefuseReason::UnknownConsumer)?;
                self.set_paused(now, index, paused);
                Ok(())
            }
        }
    }

    pub(super) fn transport_index(
        &mut self,
        id: TransportId,
    ) -> Result<TransportKey, RefuseReason> {
        let index = *self
            .transport_ids
            .get(&id)
            .ok_or(RefuseReason::UnknownTransport)?;
        self.working_on = Some(index);
        Ok(index)
    }

    fn add_transport(
        &mut self,
        id: TransportId,
        ufrag: String,
        pwd: String,
    ) -> Result<(), RefuseReason> {
        are_credentials(&ufrag, &pwd)?;
        if self.transport_ids.contains_key(&id) {
            return Err(RefuseReason::DuplicateId);
        }
        if self.ufrags.contains_key(&ufrag) {
            return Err(RefuseReason::DuplicateUfrag);
        }
        if self.transports.len() >= MAX_TRANSPORTS {
            return Err(RefuseReason::TooManyTransports);
        }
        let feedback_ssrc = Ssrc(self.rng.next_u32());
        let ice = Ice::new(ufrag.clone(), pwd);
        let index = self
            .transports
            .insert(Transport::new(id, ice, feedback_ssrc, self.ingress));
        self.transport_ids.insert(id, index);
        self.ufrags.insert(ufrag, index);
        Ok(())
    }

    /// The peer's fragment and password may be told again when they change; its certificate and our role may not.
    fn set_remote(
        &mut self,
        now: Instant,
        id: TransportId,
        remote: Remote,
        (fingerprint, role): ([u8; 32], DtlsRole),
        sink: &mut impl TransmitSink,
    ) -> Result<(), RefuseReason> {
        let index = self.transport_index(id)?;
        let Some(transport) = self.transports.get_mut(index) else {
            return Err(RefuseReason::UnknownTransport);
        };
        if !UFRAG_LEN.contains(&remote.ufrag.len()) || !PWD_LEN.contains(&remote.pwd.len()) {
            return Err(RefuseReason::InvalidValue);
        }
        if transport
            .expected_fingerprint
            .is_some_and(|expected| expected != fingerprint || transport.dtls.role() != role)
        {
            return Err(RefuseReason::RemoteAlreadySet);
        }
        if transport.dtls.role() != role {
            // Whatever a stranger said meanwhile was not for a client.
            transport.dtls = DtlsSession::as_client(fingerprint);
            self.handshakes.waiting -= transport.handshake.len();
            transport.handshake.clear();
            transport.held.clear();
            transport.pending = None;
            transport.dtls_to = DtlsTo::Nowhere;
        }
        transport.ice.set_remote(now, remote);
        transport.expected_fingerprint = Some(fingerprint);
        transport.named_at.get_or_insert(now);
        if let Some((at, _)) = transport.connect_deadline() {
            self.wake(index, at);
        }
        self.connect(now, index, sink);
        self.send_checks(now, index, sink);
        Ok(())
    }

    fn add_producer(&mut self, now: Instant, spec: ProducerSpec) -> Result<(), RefuseReason> {
        let index = self.transport_index(spec.transport)?;
        let Some(transport) = self.transports.get_mut(index) else {
            return Err(RefuseReason::UnknownTransport);
        };
        if self.track_ids.contains_key(&spec.producer) {
            return Err(RefuseReason::DuplicateId);
        }
        if transport.tracks.len() >= MAX_PRODUCERS {
            return Err(RefuseReason::TooManyProducers);
        }
        let extensions = [
            spec.mid_extension,
            spec.rid_extension,
            spec.repaired_rid_extension,
            spec.twcc_extension,
            spec.dependency_descriptor_extension,
            spec.level_extension,
        ];
        let extensions_ok = extensions.into_iter().flatten().all(extensions::is_id);
        // Without the extension nothing would ever be found to be its.
        let rid_ok = spec.rid.is_empty()
            || (spec.rid_extension.is_some() || spec.ssrc.is_some()) && is_rid(&spec.rid);
        let rtx_ok = spec
            .rtx_payload_type
            .is_none_or(|rtx| is_payload_type(rtx) && rtx != spec.payload_type);
        let red_ok = spec.red_payload_type.is_none_or(|red| {
            let others = [Some(spec.payload_type), spec.rtx_payload_type];
            spec.kind == Kind::Audio && is_payload_type(red) && !others.contains(&Some(red))
        });
        if !extensions_ok
            || !rtx_ok
            || !red_ok
            || !is_payload_type(spec.payload_type)
            || !rid_ok
            || spec.mid.len().max(spec.rid.len()) > MAX_MID
            || (spec.codec == Codec::Opus) != (spec.kind == Kind::Audio)
        {
            return Err(RefuseReason::InvalidValue);
        }
        let ssrcs = [spec.ssrc, spec.rtx_ssrc];
        if spec.ssrc.is_some() && spec.ssrc == spec.rtx_ssrc {
            return Err(RefuseReason::DuplicateSsrc);
        }
        if ssrcs
            .iter()
            .flatten()
            .any(|ssrc| transport.stream(*ssrc).is_some())
        {
            return Err(RefuseReason::DuplicateSsrc);
        }
        if let Some(extension) = spec.twcc_extension {
            transport.enable_feedback(extension);
        }
        if spec.remb && spec.twcc_extension.is_none() {
            transport.estimate.get_or_insert_default();
        }
        let id = spec.producer;
        let track = self.tracks.insert(Track::new(spec, index));
        self.track_ids.insert(id, track);
        transport.tracks.push(track);
        for (ssrc, rtx) in ssrcs.into_iter().zip([false, true]) {
            if let Some(ssrc) = ssrc {
                transport.set_stream(Stream { ssrc, track, rtx });
            }
        }
        self.wake(index, now);
        Ok(())
    }

    fn add_consumer(&mut self, now: Instant, spec: ConsumerSpec) -> Result<(), RefuseReason> {
        if !(1..=MAX_SOURCES).contains(&spec.producers.len()) {
            return Err(RefuseReason::InvalidValue);
        }
        let mut sources = [None; MAX_SOURCES];
        for (at, producer) in spec.producers.iter().enumerate() {
            let key = self.track_ids.get(producer).copied();
            // In two places of the list it would stand in one place of the track's.
            if key.is_some() && sources.contains(&key) {
                return Err(RefuseReason::InvalidValue);
            }
            sources[at] = key;
        }
        let mut known = sources.iter().flatten().map(|key| self.tracks.get(*key));
        let mut known = known
            .by_ref()
            .flatten()
            .map(|it| (it.spec.kind, it.spec.codec));
        let first = known.next().ok_or(RefuseReason::UnknownProducer)?;
        if known.any(|other| other != first) {
            return Err(RefuseReason::InvalidValue);
        }
        let mut sources = Sources::new(&sources[..spec.producers.len()], spec.source);
        let begin = sources.target(|key| {
            let track = self.tracks.get(key);
            track.map_or(Presence::Gone, |it| it.presence(now))
        });
        sources.set_current(begin.unwrap_or_default());
        let track_index = sources
            .track(sources.current())
            .ok_or(RefuseReason::UnknownProducer)?;
        let index = self.transport_index(spec.transport)?;
        let Some(track) = self.tracks.get_mut(track_index) else {
            return Err(RefuseReason::UnknownProducer);
        };
        let Some(transport) = self.transports.get_mut(index) else {
            return Err(RefuseReason::UnknownTransport);
        };
        if self.consumer_ids.contains_key(&spec.consumer) {
            return Err(RefuseReason::DuplicateId);
        }
        if transport.consumers.len() >= MAX_CONSUMERS {
            return Err(RefuseReason::TooManyConsumers);
        }
        let rtx_ok = spec.rtx_payload_type.is_none_or(is_payload_type)
            && spec.rtx_payload_type.is_some() == spec.rtx_ssrc.is_some();
        let mid_ok = spec
            .mid_extension
            .is_none_or(|id| extensions::is_id(id) && !spec.mid.is_empty());
        let twcc_ok = spec
            .twcc_extension
            .is_none_or(|id| extensions::is_id(id) && spec.mid_extension != Some(id));
        let descriptor_ok = spec.dependency_descriptor_extension.is_none_or(|id| {
            let others = [spec.mid_extension, spec.twcc_extension];
            extensions::is_id(id) && !others.contains(&Some(id))
        });
        let red_ok = spec.red_payload_type.is_none_or(|red| {
            let sound = track.spec.kind == Kind::Audio;
            sound && is_payload_type(red) && red != spec.payload_type
        });
        // SDES items carry at most 255 bytes (RFC 3550 §6.5).
        let names_ok = spec.mid.len() <= MAX_MID && spec.cname.len() <= 255;
        let ids_ok = mid_ok && twcc_ok && descriptor_ok;
        if !rtx_ok || !red_ok || !ids_ok || !names_ok || !is_payload_type(spec.payload_type) {
            return Err(RefuseReason::InvalidValue);
        }
        transport
            .sent
            .open(track.spec.kind, spec.ssrc, spec.rtx_ssrc)?;
        let bandwidth = transport.bandwidth.get_or_insert_default();
        if spec.twcc_extension.is_some() {
            bandwidth.expect_feedback();
        }
        let (id, ssrc, several) = (spec.consumer, spec.ssrc, sources.are_several());
        let mut consumer = Consumer::new(
            spec,
            index,
            track_index,
            sources,
            track.spec.kind,
            track.next_arrival(),
            &mut self.rng,
        );
        // Of AV1 nothing but the descriptor tells a decoder that it lacks nothing.
        let has_descriptor = consumer.spec.dependency_descriptor_extension.is_some();
        consumer.leaves_out = track.spec.codec != Codec::Av1 || has_descriptor;
        consumer.new_until = Some(now + NEW);
        consumer.places = Places {
            at_transport: transport.consumers.len(),
            at_track: track.consumers.len(),
        };
        let consumer = self.consumers.insert(consumer);
        self.consumer_ids.insert(id, consumer);
        transport.consumers.push(consumer);
        transport.outgoing.insert(ssrc, consumer);
        track.consumers.push(consumer);
        let looks = several.then(|| *transport.look_at_sources.get_or_insert(now + LOOK_INTERVAL));
        let connected = transport.srtp.is_some();
        if let Some(at) = looks {
            self.wake(index, at);
        }
        // Before the transport is there a keyframe would come for nobody; it asks itself when it connects.
        if connected {
            self.want_keyframe(now, track_index, Need::FirstPicture);
        }
        Ok(())
    }

    fn set_paused(&mut self, now: Instant, index: ConsumerKey, paused: bool) {
        let Some(consumer) = self.consumers.get_mut(index) else {
            return;
        };
        if consumer.paused == paused {
            return;
        }
        consumer.paused = paused;
        consumer.rewriter.stop();
        consumer.smoothness.stop();
        let (track, transport) = (consumer.track, consumer.transport);
        let connected = self
            .transports
            .get(transport)
            .is_some_and(|transport| transport.srtp.is_some());
        if !paused && connected {
            self.want_keyframe(now, track, Need::FirstPicture);
        }
    }
}

/// Whether these may be credentials of ours. A colon would end the fragment within a USERNAME.
pub(super) fn are_credentials(ufrag: &str, pwd: &str) -> Result<(), RefuseReason> {
    if !UFRAG_LEN.contains(&ufrag.len()) || !PWD_LEN.contains(&pwd.len()) || ufrag.contains(':') {
        return Err(RefuseReason::InvalidValue);
    }
    Ok(())
}

/// A restriction identifier is of letters, digits, hyphens and underscores (RFC 8851 §10).
fn is_rid(rid: &str) -> bool {
    let is_part = |it: u8| it.is_ascii_alphanumeric() || b"-_".contains(&it);
    rid.bytes().all(is_part)
}

/// Payload types that RTCP's packet types cannot be mistaken for (RFC 5761 §4).
fn is_payload_type(payload_type: PayloadType) -> bool {
    payload_type.0 < 64 || (96..128).contains(&payload_type.0)
}
