//! One peer: a socket, a path to the server, what it sends and what it counts.

use crate::clock;
use crate::dtls::{DtlsClient, Srtp};
use crate::ice::Ice;
use crate::outgoing::{Outgoing, OutgoingSpec};
use crate::payload;
use crate::reflector::Hello;
use crate::socket::{self, BATCH, Receiver, Sender, Stamp};
use crate::tally::{Place, StreamReport, Tally, extension};
use crate::times::Times;
use parlour_media::SrtpProfile;
use parlour_media::num::{Rng, Ssrc};
use parlour_media::rtcp::{self, Rtcp};
use parlour_media::rtp::{RtpHeader, RtpView, is_rtcp, is_rtp_or_rtcp};
use parlour_media::twcc::TwccRecorder;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Of so many packets one is opened and timed.
const SAMPLE: u64 = 32;
/// Between two looks at a handshake's timers, two transport-wide feedbacks, and two reports.
const CONNECTING: Duration = Duration::from_millis(20);
const FEEDBACK: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_secs(1);
/// Calls of recvmmsg for one peer at a time, so that none holds up the others.
const MOST_CALLS: usize = 16;
/// Streams that one peer counts; more are one count of their own.
const MOST_STREAMS: usize = 256;

/// What two session descriptions say about a path with ICE, DTLS and SRTP.
#[derive(Clone, Debug)]
pub struct SecureSpec {
    /// Our user fragment and password.
    pub local: (String, String),
    /// The server's.
    pub remote: (String, String),
    /// SHA-256 of the server's certificate.
    pub fingerprint: [u8; 32],
}

/// How far a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// ICE or DTLS is under way.
    Connecting,
    /// Media may flow. The SRTP profile; `None` for a path in the clear.
    Connected(Option<SrtpProfile>),
    /// It cannot go on; a sentence says why.
    Failed(String),
}

pub(crate) enum Security {
    /// To a reflector: only a greeting.
    Plain(Hello),
    /// To a room server.
    Secure {
        ice: Box<Ice>,
        dtls: Option<Box<DtlsClient>>,
        srtp: Option<Box<Srtp>>,
    },
}

/// What all peers of a generator add up.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) times: Times,
    pub(crate) lateness: Times,
    pub(crate) undecryptable: u64,
    pub(crate) unsent: u64,
    pub(crate) feedback: u64,
    pub(crate) strangers: u64,
}

/// What a thread lends its peers.
pub(crate) struct Tools {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    pub(crate) sums: Sums,
}

/// What a peer is told of the packets that come to it.
#[derive(Clone, Debug, Default)]
pub struct IncomingSpec {
    /// The header extension with the transport-wide number.
    pub twcc_extension: Option<u8>,
    /// Payload types of retransmissions (RFC 4588).
    pub repair_payload_types: Vec<u8>,
}

pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    security: Security,
    pub(crate) state: State,
    patience: Duration,
    deadline: Instant,
    pub(crate) connected_at: Option<Duration>,
    pub(crate) first_picture_at: Option<Duration>,
    /// Whether the first packet of a keyframe came.
    began: bool,
    pub(crate) outgoing: Vec<Outgoing>,
    transport_seq: u16,
    tallies: Vec<Tally>,
    came: u64,
    sample: u64,
    twcc: Option<(u8, TwccRecorder)>,
    repairs: Vec<u8>,
    ssrc: Ssrc,
    next_report: Instant,
}

impl Peer {
    pub(crate) fn new(
        remote: SocketAddr,
        security: Security,
        outgoing: Vec<OutgoingSpec>,
        incoming: IncomingSpec,
        rng: &mut Rng,
        patience: Duration,
    ) -> io::Result<Peer> {
        let now = Instant::now();
        let streams = outgoing
            .into_iter()
            .map(|spec| Outgoing::new(spec, rng.next_u32() as u16, rng.next_u32()))
            .collect();
        Ok(Peer {
            socket: socket::open(remote)?,
            security,
            state: State::Connecting,
            patience,
            deadline: now + patience,
            connected_at: None,
            first_picture_at: None,
            began: false,
            outgoing: streams,
            transport_seq: 0,
            tallies: Vec::new(),
            came: 0,
            sample: rng.below(SAMPLE),
            twcc: incoming.twcc_extension.map(|id| (id, TwccRecorder::new())),
            repairs: incoming.repair_payload_types,
            ssrc: Ssrc(rng.next_u32()),
            next_report: now + REPORT.mul_f64(rng.unit()),
        })
    }

    /// What is told of each stream that came.
    pub(crate) fn reports(&self) -> impl Iterator<Item = StreamReport> {
        self.tallies.iter().map(Tally::report)
    }

    /// Does what is due, and says when to come again.
    pub(crate) fn on_timer(&mut self, now: Instant, tools: &mut Tools) -> Instant {
        match self.state {
            State::Failed(_) => now + REPORT,
            State::Connecting => {
                self.drive_handshake(now);
                now + CONNECTING
            }
            State::Connected(_) => {
                if let Security::Secure { ice, .. } = &mut self.security {
                    let socket = &self.socket;
                    ice.on_timer(now, |datagram| send(socket, datagram));
                }
                self.send_feedback(now, tools);
                now + FEEDBACK
            }
        }
    }

    fn drive_handshake(&mut self, now: Instant) {
        let socket = &self.socket;
        let answer = |datagram: &[u8]| send(socket, datagram);
        let result = match &mut self.security {
            Security::Plain(hello) => {
                send(socket, &hello.to_bytes());
                Ok(None)
            }
            Security::Secure { ice, dtls, .. } => {
                ice.on_timer(now, answer);
                match dtls {
                    Some(dtls) if ice.answered => dtls.on_timer(now, answer),
                    _ => Ok(None),
                }
            }
        };
        self.take_handshake(result);
        if self.state == State::Connecting && now > self.deadline {
            self.state = State::Failed(self.why_not_connected());
        }
    }

    fn why_not_connected(&self) -> String {
        let to = self
            .socket
            .peer_addr()
            .map_or_else(|_| "the server".into(), |address| address.to_string());
        let seconds = self.patience.as_secs_f64();
        match &self.security {
            Security::Plain(_) => format!("the reflector at {to} did not answer in {seconds} s"),
            Security::Secure { ice, .. } if ice.answered => {
                format!("the DTLS handshake with {to} did not end in {seconds} s")
            }
            Security::Secure { .. } => {
                format!("{to} answered no ICE check in {seconds} s: is UDP to it open?")
            }
        }
    }

    fn take_handshake(&mut self, result: Result<Option<Srtp>, String>) {
        match result {
            Ok(None) => {}
            Ok(Some(new)) => {
                self.state = State::Connected(Some(new.profile));
                self.connected_at = Some(clock::monotonic());
                if let Security::Secure { dtls, srtp, .. } = &mut self.security {
                    *srtp = Some(Box::new(new));
                    *dtls = None;
                }
            }
            Err(reason) => self.state = State::Failed(reason),
        }
    }

    /// Empties the socket.
    pub(crate) fn receive(&mut self, now: Instant, tools: &mut Tools) {
        for _ in 0..MOST_CALLS {
            let count = tools.receiver.receive(&self.socket);
            for index in 0..count {
                let (datagram, stamp) = tools.receiver.datagram(index);
                let stamp = stamp.unwrap_or_else(|| Stamp(clock::realtime_ns()));
                self.on_datagram(now, datagram, stamp, &mut tools.sums);
            }
            if count < BATCH {
                break;
            }
        }
    }

    fn on_datagram(&mut self, now: Instant, datagram: &mut [u8], stamp: Stamp, sums: &mut Sums) {
        if is_rtp_or_rtcp(datagram) {
            if is_rtcp(datagram) {
                self.on_rtcp(datagram, stamp, sums);
            } else {
                self.on_rtp(datagram, stamp, sums);
            }
            return;
        }
        let socket = &self.socket;
        let answer = |datagram: &[u8]| send(socket, datagram);
        let result = match &mut self.security {
            Security::Plain(hello) => {
                if self.state == State::Connecting && *datagram == hello.to_bytes() {
                    self.state = State::Connected(None);
                    self.connected_at = Some(clock::monotonic());
                }
                return;
            }
            Security::Secure { ice, dtls, .. } => match (datagram.first(), dtls) {
                (Some(0..=3), dtls) => {
                    let before = ice.answered;
                    ice.on_datagram(now, datagram, answer);
                    match dtls {
                        Some(dtls) if ice.answered && !before => dtls.on_timer(now, answer),
                        _ => Ok(None),
                    }
                }
                (Some(20..=63), Some(dtls)) => dtls.on_datagram(datagram, answer),
                _ => Ok(None),
            },
        };
        self.take_handshake(result);
    }

    fn on_rtp(&mut self, packet: &mut [u8], stamp: Stamp, sums: &mut Sums) {
        let Ok(header) = RtpHeader::parse(packet) else {
            sums.strangers += 1;
            return;
        };
        if let Some((id, recorder)) = &mut self.twcc
            && let Some(&[high, low]) = extension(packet, *id)
        {
            recorder.on_packet(
                u16::from_be_bytes([high, low]),
                Duration::from_nanos(stamp.0),
            );
        }
        // Nothing is ever asked for again: this is padding that tries the path.
        if self.repairs.contains(&header.payload_type.0) {
            return;
        }
        let at = match self
            .tallies
            .iter()
            .position(|tally| tally.ssrc == header.ssrc)
        {
            Some(at) => at,
            None if self.tallies.len() == MOST_STREAMS => {
                sums.strangers += 1;
                return;
            }
            None => {
                self.tallies.push(Tally::new(&header));
                self.tallies.len() - 1
            }
        };
        let Place::Fresh { roc } = self.tallies[at].take(&header) else {
            return;
        };
        self.came += 1;
        let is_sample = self.came % SAMPLE == self.sample;
        if !is_sample && self.first_picture_at.is_some() {
            return;
        }
        let len = match &self.security {
            Security::Plain(_) => Some(packet.len()),
            Security::Secure { srtp: None, .. } => None,
            Security::Secure {
                srtp: Some(srtp), ..
            } => srtp.receiver.unprotect_rtp_at(packet, roc).ok(),
        };
        let stamped = len
            .and_then(|len| RtpView::parse(&packet[..len]).ok())
            .and_then(|view| payload::read(view.payload()));
        let Some(stamped) = stamped else {
            sums.undecryptable += 1;
            return;
        };
        if is_sample {
            sums.times.add(stamp.0.saturating_sub(stamped.sent_ns));
        }
        self.began |= stamped.begins;
        if self.began && header.marker && self.first_picture_at.is_none() {
            self.first_picture_at = Some(clock::monotonic());
        }
    }

    fn on_rtcp(&mut self, packet: &mut [u8], stamp: Stamp, sums: &mut Sums) {
        let Security::Secure {
            srtp: Some(srtp), ..
        } = &mut self.security
        else {
            return;
        };
        let Ok(len) = srtp.receiver.unprotect_rtcp(packet) else {
            sums.undecryptable += 1;
            return;
        };
        let mut want = |ssrc: Ssrc| {
            for stream in &mut self.outgoing {
                if stream.spec.ssrc == ssrc.0 {
                    stream.want_keyframe();
                }
            }
        };
        for part in rtcp::parse_compound(&packet[..len]).map_while(Result::ok) {
            match part {
                Rtcp::Pli { media, .. } => want(media),
                Rtcp::Fir { requests, .. } => requests.for_each(|(media, _)| want(media)),
                Rtcp::SenderReport { ssrc, info, .. } => {
                    if let Some(tally) = self.tallies.iter_mut().find(|one| one.ssrc == ssrc) {
                        tally.sender_report = Some(((info.ntp >> 16) as u32, stamp));
                    }
                }
                _ => {}
            }
        }
    }

    /// Reports about what came and what was sent, and feedback about each packet where that is agreed.
    fn send_feedback(&mut self, now: Instant, tools: &mut Tools) {
        let Security::Secure {
            srtp: Some(srtp), ..
        } = &mut self.security
        else {
            return;
        };
        let mut buffer = [0; 1_500];
        let mut seal = |buffer: &mut [u8], len: usize| {
            if len == 0 {
                return;
            }
            if let Ok(len) = srtp.sender.protect_rtcp(buffer, len) {
                send(&self.socket, &buffer[..len]);
                tools.sums.feedback += 1;
            }
        };
        if let Some((_, recorder)) = &mut self.twcc {
            let media = self.tallies.first().map_or(Ssrc(0), |tally| tally.ssrc);
            // One is enough but after a stall; the bound is for what never ends.
            for _ in 0..8 {
                match recorder.build(&mut buffer[..1_200], self.ssrc, media) {
                    Some(len) => seal(&mut buffer, len),
                    None => break,
                }
            }
        }
        if now < self.next_report {
            return;
        }
        self.next_report = now + REPORT;
        let real = clock::realtime_ns();
        for stream in &self.outgoing {
            let len = stream.write_report(&mut buffer, clock::monotonic(), real);
            seal(&mut buffer, len);
        }
        let blocks: Vec<_> = self
            .tallies
            .iter_mut()
            .map(|tally| tally.report_block(Stamp(real)))
            .collect();
        for blocks in blocks.chunks(31) {
            let len = rtcp::write_receiver_report(&mut buffer, self.ssrc, blocks);
            let len = len + rtcp::write_sdes_cname(&mut buffer[len..], self.ssrc, "load");
            seal(&mut buffer, len);
        }
    }

    /// When this peer has something to send next.
    pub(crate) fn due(&self) -> Option<Duration> {
        if !matches!(self.state, State::Connected(_)) {
            return None;
        }
        self.outgoing.iter().filter_map(Outgoing::due).min()
    }

    /// Sends all packets that are due, with as few calls as possible.
    pub(crate) fn send_due(&mut self, tools: &mut Tools) {
        let now = clock::monotonic();
        for stream in &mut self.outgoing {
            if stream.due().is_some_and(|due| due <= now) {
                let late = stream.settle(now);
                tools.sums.lateness.add(late.as_nanos() as u64);
            }
            while stream.due().is_some_and(|due| due <= now) {
                let Some(slot) = tools.sender.slot() else {
                    tools.sums.unsent += tools.sender.flush(&self.socket);
                    continue;
                };
                let transport_seq = self.transport_seq;
                let Some(written) = stream.write(slot, transport_seq, clock::realtime_ns()) else {
                    break;
                };
                self.transport_seq = transport_seq.wrapping_add(1);
                let len = match &self.security {
                    Security::Plain(_) => Some(written.len),
                    Security::Secure { srtp, .. } => srtp.as_ref().and_then(|srtp| {
                        let sender = &srtp.sender;
                        sender.protect_rtp(slot, written.len, written.roc).ok()
                    }),
                };
                match len {
                    Some(len) => tools.sender.push(len),
                    None => tools.sums.unsent += 1,
                }
            }
        }
        tools.sums.unsent += tools.sender.flush(&self.socket);
    }
}

/// A datagram that cannot be sent is lost like one in the network: handshakes and checks repeat it.
fn send(socket: &UdpSocket, datagram: &[u8]) {
    let _ = socket.send(datagram);
}
