//! One peer: where it is, its keys, its streams, and how packets are sealed for it.

pub mod backlog;
pub(crate) mod budget;
pub(crate) mod demanded;
pub(crate) mod division;
mod drops;
pub mod dtls;
pub(crate) mod estimate;
mod feedback;
pub(crate) mod header;
pub mod ice;
pub(crate) mod outgoing;
pub mod pacer;
pub mod path;
pub(crate) mod policer;
pub(crate) mod round_trip;
pub mod sink;
pub mod srtp;
pub(crate) mod traffic;
pub(crate) mod verification;

use crate::congestion::{Bandwidth, Probe};
use crate::ids::TransportId;
use crate::reasons::{CloseReason, DropReason, Drops};
use crate::slab::{ConsumerKey, TrackKey};
use crate::transport::backlog::Backlog;
use crate::transport::budget::Budget;
use crate::transport::demanded::Told;
use crate::transport::division::Divided;
use crate::transport::dtls::{DtlsSession, HANDSHAKE_TIMEOUT, Handshake, Job, Progress};
use crate::transport::estimate::Estimate;
use crate::transport::feedback::Feedback;
use crate::transport::header::OutgoingHeader;
use crate::transport::ice::Ice;
use crate::transport::outgoing::{OutgoingStreams, Sealed};
use crate::transport::pacer::Pacer;
use crate::transport::path::Path;
use crate::transport::policer::{IngressLimit, Policer};
use crate::transport::round_trip::RoundTrip;
use crate::transport::sink::{TransmitSink, send_plain};
use crate::transport::srtp::{
    SRTP_OVERHEAD, SrtpError, SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender,
};
use crate::transport::traffic::Traffic;
use crate::transport::verification::PeerBudget;
use crate::wire::num::{SeqNo, Ssrc};
use crate::wire::red;
use crate::wire::rtp;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// From the naming of the peer to its first authenticated check.
pub const ICE_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two reports (RFC 3550 §6.2 allows less than its 5 s for sessions with bandwidth to spare).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Parts, report blocks, sources and numbers of RTCP that one peer may name at once and a second: a subscriber of 512
/// tracks reports on each of them every second, and asks for a tenth of 300 packets a second on each of ten.
const RTCP_BURST: f64 = 4096.0;
const RTCP_RATE: f64 = 4096.0;

/// Packets that a peer is asked for again at once and a second: a tenth of what it may send at most, each twice. What is
/// over waits, and is given up when it would come too late.
const NACK_BURST: f64 = 512.0;
const NACK_RATE: f64 = 512.0;

/// Incoming SSRCs of one peer: two for each of the most tracks it may publish.
pub const MAX_STREAMS: usize = 64;

/// The largest UDP payload of an Ethernet over IPv4. What is larger would only be fragmented.
pub const MAX_DATAGRAM: usize = 1472;

/// Datagrams of a handshake that wait for their address to be proven: two flights.
const MAX_HELD: usize = 16;

/// RTCP packets are kept below the smallest MTU that IPv6 allows (RFC 8200 §5).
pub(crate) const MAX_RTCP: usize = 1200;

/// An SSRC that is known to belong to a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: Ssrc,
    pub(crate) track: TrackKey,
    /// Whether it carries retransmissions.
    pub(crate) rtx: bool,
}

/// The keys of both directions.
pub(crate) struct Srtp {
    pub(crate) profile: SrtpProfile,
    pub(crate) receiver: SrtpReceiver,
    pub(crate) sender: SrtpSender,
}

/// Where our half of a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DtlsTo {
    Nowhere,
    One(Path),
    Several,
}

impl DtlsTo {
    pub(crate) fn and(self, address: Path) -> Self {
        match self {
            DtlsTo::Nowhere => DtlsTo::One(address),
            DtlsTo::One(before) if before == address => self,
            _ => DtlsTo::Several,
        }
    }
}

/// A probe that is being sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probing {
    pub(crate) probe: Probe,
    pub(crate) began: Instant,
    /// Bytes that were sent since then, media too.
    pub(crate) sent: usize,
}

/// One peer.
pub(crate) struct Transport {
    pub(crate) id: TransportId,
    pub(crate) ice: Ice,
    pub(crate) dtls: DtlsSession,
    /// A handshake that ended before the peer was named.
    pub(crate) pending: Option<Box<Handshake>>,
    /// What the peer said of the handshake and waits for its turn.
    pub(crate) handshake: VecDeque<(Path, Job)>,
    /// Parts of the handshake that wait for their address to be proven or to earn them.
    pub(crate) held: VecDeque<Vec<u8>>,
    /// Where the last DTLS datagram came from: where the answer goes while there is no path.
    pub(crate) dtls_from: Option<Path>,
    /// Where our half of the handshake went, as long as that was one address.
    pub(crate) dtls_to: DtlsTo,
    pub(crate) expected_fingerprint: Option<[u8; 32]>,
    pub(crate) srtp: Option<Srtp>,
    pub(crate) tracks: Vec<TrackKey>,
    pub(crate) consumers: Vec<ConsumerKey>,
    /// Those whose track goes on in this turn, and those that wait until its path carries more.
    pub(crate) ready: Vec<ConsumerKey>,
    pub(crate) waiting: Vec<ConsumerKey>,
    pub(crate) streams: HashMap<Ssrc, Stream>,
    /// Which consumer leaves under which SSRC, for what its peer says about them.
    pub(crate) outgoing: HashMap<Ssrc, ConsumerKey>,
    /// Items of RTCP that its peer may have looked at.
    pub(crate) rtcp_budget: Budget,
    /// Packets that its peer may be asked for again.
    pub(crate) nack_budget: Budget,
    pub(crate) round_trip: RoundTrip,
    /// Verifications of its peer's checks.
    pub(crate) stun_budget: PeerBudget,
    /// What was sent under this key.
    pub(crate) sent: OutgoingStreams,
    /// Who our feedback says it is from.
    pub(crate) feedback_ssrc: Ssrc,
    pub(crate) feedback: Option<Feedback>,
    pub(crate) estimate: Option<Estimate>,
    /// What it was told of how much its pictures are of use to anybody.
    pub(crate) demanded: Told,
    /// Since when it is to send less until what stands on its way to us has gone, and how long that stood then.
    pub(crate) drains: Option<(Instant, Duration)>,
    /// When that is looked at next, and when it was the last time.
    pub(crate) look_at_demand: Option<Instant>,
    pub(crate) demand_looked_at: Option<Instant>,
    /// What the path to the peer carries; there from its first consumer on.
    pub(crate) bandwidth: Option<Box<Bandwidth>>,
    /// How fast that lets packets leave, how it is divided, and whether it carries more.
    pub(crate) pacer: Pacer,
    pub(crate) division: Divided,
    pub(crate) probing: Option<Probing>,
    /// What waits in front of its connection, while its path is one.
    pub(crate) backlog: Backlog,
    pub(crate) named_at: Option<Instant>,
    pub(crate) validated_at: Option<Instant>,
    pub(crate) next_report: Option<Instant>,
    /// When it is looked again which sources its subscriptions may have; none while none has several.
    pub(crate) look_at_sources: Option<Instant>,
    pub(crate) traffic: Traffic,
    /// What of its peer or for it went no further.
    pub(crate) drops: Drops,
    pub(crate) policer: Policer,
}

impl Transport {
    pub(crate) fn new(id: TransportId, ice: Ice, feedback_ssrc: Ssrc, limit: IngressLimit) -> Self {
        Transport {
            id,
            ice,
            dtls: DtlsSession::new(),
            pending: None,
            handshake: VecDeque::new(),
            held: VecDeque::new(),
            dtls_from: None,
            dtls_to: DtlsTo::Nowhere,
            expected_fingerprint: None,
            srtp: None,
            tracks: Vec::new(),
            consumers: Vec::new(),
            ready: Vec::new(),
            waiting: Vec::new(),
            streams: HashMap::new(),
            outgoing: HashMap::new(),
            rtcp_budget: Budget::new(RTCP_BURST, RTCP_RATE),
            nack_budget: Budget::new(NACK_BURST, NACK_RATE),
            round_trip: RoundTrip::default(),
            stun_budget: PeerBudget::new(),
            sent: OutgoingStreams::new(),
            feedback_ssrc,
            feedback: None,
            estimate: None,
            demanded: Told::default(),
            drains: None,
            look_at_demand: None,
            demand_looked_at: None,
            bandwidth: None,
            pacer: Pacer::default(),
            division: Divided::default(),
            probing: None,
            backlog: Backlog::default(),
            named_at: None,
            validated_at: None,
            next_report: None,
            look_at_sources: None,
            traffic: Traffic::default(),
            drops: Drops::default(),
            policer: Policer::new(limit),
        }
    }

    /// Installs the keys, unless the peer showed another certificate than the announced one.
    pub(crate) fn finish_handshake(
        &mut self,
        handshake: &Handshake,
    ) -> Result<SrtpProfile, CloseReason> {
        if self.expected_fingerprint != Some(handshake.fingerprint) {
            return Err(CloseReason::FingerprintMismatch);
        }
        let keys = SrtpKeys::from_exporter(handshake.profile, &handshake.keys);
        let keys = keys.map(|keys| match self.dtls.is_client() {
            true => keys.swapped(),
            false => keys,
        });
        keys.and_then(|keys| self.install_keys(&keys))
            .map_err(|_| CloseReason::DtlsFailed)
    }

    /// Lets media flow under these keys, as the DTLS server does: what the client writes we read (RFC 5764 §4.2).
    pub(crate) fn install_keys(&mut self, keys: &SrtpKeys) -> Result<SrtpProfile, SrtpError> {
        let profile = keys.client.profile();
        self.srtp = Some(Srtp {
            profile,
            receiver: SrtpReceiver::new(&keys.client)?,
            sender: SrtpSender::new(&keys.server)?,
        });
        Ok(profile)
    }

    /// Lets DTLS work. What it has to say goes to the path; while there is none, to whoever spoke last, as far as that
    /// address has earned it. The rest is held until the address is proven.
    pub(crate) fn drive_dtls(
        &mut self,
        now: Instant,
        sink: &mut impl TransmitSink,
        work: impl FnOnce(&mut DtlsSession, &mut dyn FnMut(&[u8])) -> Progress,
    ) -> Progress {
        let mut said = Vec::new();
        let progress = work(&mut self.dtls, &mut |packet| said.push(packet.to_vec()));
        if said.is_empty() {
            return progress;
        }
        if said.len() + self.held.len() > MAX_HELD {
            // What is held was said too long ago: what comes now is said instead of it.
            self.held.clear();
        }
        said.truncate(MAX_HELD);
        self.held.extend(said);
        self.send_held(now, sink);
        progress
    }

    /// Sends what is held of the handshake, as far as it may go.
    pub(crate) fn send_held(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        let Some(to) = self.ice.path().or(self.dtls_from) else {
            return;
        };
        while let Some(packet) = self.held.front()
            && self.ice.admit_handshake(now, to, packet.len())
        {
            send_plain(sink, Some(to), packet);
            self.traffic.packets_out += 1;
            self.traffic.bytes_out += packet.len() as u64;
            self.dtls_to = self.dtls_to.and(to);
            self.held.pop_front();
        }
    }

    /// Where a peer that speaks from `source` may have got a cookie: where it is proven to be, or there while it is
    /// proven to be nowhere.
    pub(crate) fn asked_for_cookies(&self, now: Instant, source: Path) -> Vec<Path> {
        let proven = self.ice.addresses();
        let proven: Vec<Path> = proven.filter(|at| self.ice.has_consent(now, *at)).collect();
        match proven.is_empty() {
            true => vec![source],
            false => proven,
        }
    }

    /// Whether our half of the handshake went to that address and to no other.
    pub(crate) fn dtls_went_to(&self, address: Path) -> bool {
        self.dtls_to == DtlsTo::One(address)
    }

    /// Whether its peer's certificate is known to be a wrong one.
    pub(crate) fn has_wrong_fingerprint(&self) -> bool {
        let shown = self.dtls.peer_fingerprint();
        shown.is_some() && self.expected_fingerprint.is_some() && shown != self.expected_fingerprint
    }

    /// Which negotiated stream an SSRC is.
    pub(crate) fn stream(&self, ssrc: Ssrc) -> Option<Stream> {
        self.streams.get(&ssrc).copied()
    }

    /// Remembers or changes what an SSRC is; false when there are too many.
    pub(crate) fn set_stream(&mut self, stream: Stream) -> bool {
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(&stream.ssrc) {
            return false;
        }
        self.streams.insert(stream.ssrc, stream);
        true
    }

    /// Seals a packet straight into the sink. Its payload is the concatenation of the two parts.
    pub(crate) fn send_rtp(
        &mut self,
        now: Instant,
        sink: &mut impl TransmitSink,
        header: &OutgoingHeader<'_>,
        payload: &[u8],
    ) -> Result<usize, DropReason> {
        let (Some(srtp), Some(path)) = (self.srtp.as_mut(), self.ice.path()) else {
            return Err(DropReason::NotConnected);
        };
        let extensions = header.extensions;
        let original_len = if header.original.is_some() { 2 } else { 0 };
        let padding_len = usize::from(header.padding);
        let (block, block_len) = match &header.descriptor {
            None => (extensions.bytes(), extensions.bytes().len()),
            Some(it) => (&[][..], extensions.len_with(it.value.len())),
        };
        let plain_len =
            rtp::RTP_HEADER_LEN + block_len + original_len + payload.len() + padding_len;
        if plain_len + SRTP_OVERHEAD > MAX_DATAGRAM {
            return Err(DropReason::TooLarge);
        }
        // What is sent again under its index is sent again with its transport-wide number, or it would be another packet.
        let passed = self
            .sent
            .use_index(header.ssrc, header.ext, header.repeatable)?;
        let number = match (extensions.number_at(), self.bandwidth.as_ref()) {
            (Some(_), Some(it)) => Some(passed.number().unwrap_or(it.next_number())),
            _ => None,
        };
        let buffer = sink.buffer(path, plain_len + SRTP_OVERHEAD);
        let OutgoingHeader {
            marker,
            payload_type,
            ext,
            timestamp,
            ssrc,
            ..
        } = *header;
        let mut at = rtp::write_header_before(
            buffer,
            marker,
            payload_type,
            ext.seq(),
            timestamp,
            ssrc,
            block,
        );
        if at == 0 {
            return Err(DropReason::SealFailed);
        }
        let mut number_at = extensions.number_at();
        if let Some(descriptor) = &header.descriptor {
            let written = descriptor.write(extensions, &mut buffer[at..]);
            let written = written.ok_or(DropReason::SealFailed)?;
            buffer[0] |= rtp::EXTENSION_BIT;
            number_at = written.number_at;
            at += written.len;
        }
        if let Some((place, number)) = number_at.zip(number) {
            let place = rtp::RTP_HEADER_LEN + place;
            buffer[place..place + 2].copy_from_slice(&number.0.to_be_bytes());
        }
        if let Some(original) = header.original {
            buffer[at..at + 2].copy_from_slice(&original.0.to_be_bytes());
            at += 2;
        }
        buffer[at..at + payload.len()].copy_from_slice(payload);
        if let Some((ids, numbers)) = header.pictures {
            ids.write(numbers, &mut buffer[at..at + payload.len()]);
        }
        if let Some(payload_type) = header.blocks {
            red::set_payload_type(&mut buffer[at..at + payload.len()], payload_type);
        }
        at += payload.len();
        if header.padding > 0 {
            buffer[0] |= rtp::PADDING_BIT;
            buffer[at..at + padding_len].fill(0);
            at += padding_len;
            buffer[at - 1] = header.padding;
        }
        let plain_len = at;
        let sealed = srtp.sender.protect_rtp(buffer, plain_len, ext.roc());
        let len = sealed.map_err(|_| DropReason::SealFailed)?;
        let tag = buffer[plain_len..len].first_chunk();
        let sealed = Sealed {
            tag: u64::from_ne_bytes(*tag.ok_or(DropReason::SealFailed)?),
            number: number.unwrap_or(SeqNo(0)),
        };
        self.sent.confirm(ssrc, ext, passed, sealed)?;
        sink.commit(len);
        if let Some(bandwidth) = self.bandwidth.as_mut() {
            bandwidth.on_sent(now, number, len, self.probing.map(|it| it.probe.cluster));
        }
        self.pacer.spend(len);
        if let Some(probing) = &mut self.probing {
            probing.sent += len;
        }
        self.traffic.packets_out += 1;
        self.traffic.bytes_out += len as u64;
        Ok(len)
    }

    /// Seals RTCP straight into the sink; `write` returns the length, 0: nothing is sent.
    pub(crate) fn send_rtcp(
        &mut self,
        sink: &mut impl TransmitSink,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> bool {
        let (Some(srtp), Some(path)) = (self.srtp.as_mut(), self.ice.path()) else {
            return false;
        };
        let buffer = sink.buffer(path, MAX_RTCP + SRTP_OVERHEAD);
        let plain_len = write(&mut buffer[..MAX_RTCP]);
        if plain_len == 0 {
            return false;
        }
        let Ok(len) = srtp.sender.protect_rtcp(buffer, plain_len) else {
            return false;
        };
        sink.commit(len);
        self.traffic.packets_out += 1;
        self.traffic.bytes_out += len as u64;
        true
    }

    /// The peer's packets carry transport-wide numbers in this extension.
    pub(crate) fn enable_feedback(&mut self, extension: u8) {
        match &mut self.feedback {
            Some(feedback) => feedback.read(extension),
            None => self.feedback = Some(Feedback::new(extension)),
        }
    }

    /// Notes when a packet came; returns when feedback is due. `arrival` is the time since the epoch of all
    /// arrivals.
    pub(crate) fn record_arrival(
        &mut self,
        now: Instant,
        arrival: Duration,
        packet: &rtp::RtpView<'_>,
    ) -> Option<Instant> {
        self.feedback.as_mut()?.on_packet(now, arrival, packet)
    }

    /// Sends feedback when it is due.
    pub(crate) fn send_feedback(&mut self, now: Instant, sink: &mut impl TransmitSink) {
        let Some(mut feedback) = self.feedback.take() else {
            return;
        };
        if feedback.due().is_some_and(|due| due <= now) {
            let sender = self.feedback_ssrc;
            while self.send_rtcp(sink, |buf| feedback.build(buf, sender)) {}
            feedback.on_sent();
        }
        self.feedback = Some(feedback);
    }

    /// When feedback is due.
    pub(crate) fn feedback_due(&self) -> Option<Instant> {
        self.feedback.as_ref()?.due()
    }

    /// When to give up on a peer that does not come or does not finish, and how that is called.
    pub(crate) fn connect_deadline(&self) -> Option<(Instant, CloseReason)> {
        if self.srtp.is_some() || self.pending.is_some() {
            return None;
        }
        match (self.validated_at, self.named_at) {
            (Some(at), _) => Some((at + HANDSHAKE_TIMEOUT, self.dtls.reason_of_timeout())),
            (None, Some(at)) => Some((at + ICE_TIMEOUT, CloseReason::IceTimeout)),
            (None, None) => None,
        }
    }

    /// Where it may be reached, for the router's map of addresses.
    pub(crate) fn addresses(&self) -> Vec<Path> {
        self.ice.addresses().collect()
    }
}
