//! One peer connection, sans I/O.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpPendingOffer;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind, MediaTime, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};

use crate::codec::Codec;
use crate::event::{CloseReason, Event, Frame, IceState, Kind};

mod negotiation;

pub use negotiation::Offer;

/// Ours: a receiver asks for a keyframe at most this often for one track.
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Ours: identifiers of the header extensions we offer (RFC 8285 §4.2: 1 to 14).
const TWCC_EXTENSION: u8 = 3;
const MID_EXTENSION: u8 = 4;
const LEVEL_EXTENSION: u8 = 5;

/// Why an operation on a peer failed: a sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

fn failed(what: &str) -> impl Fn(RtcError) -> Error + '_ {
    move |error| Error(format!("{what}: {error}"))
}

/// How a peer is made.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Codecs in order of preference.
    pub codecs: Vec<Codec>,
    /// The addresses of our sockets: the host candidates.
    pub local: Vec<SocketAddr>,
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingFrame {
    /// The m-line to send on.
    pub mid: Mid,
    /// How it is encoded. H264 in Annex B form.
    pub codec: Codec,
    /// RTP media time in ticks of the codec's clock: 48,000 a second for Opus, 90,000 for video.
    pub timestamp: u64,
    /// How loud it is, in dB below the loudest there is, up to 127 (RFC 6464); none: that is not told.
    pub level: Option<u8>,
    /// The encoded frame.
    pub data: Arc<[u8]>,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The local address to send from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The datagram.
    pub contents: Vec<u8>,
}

/// One peer connection. Every method that takes `now` leaves its results in the queues behind
/// [`Peer::poll_transmit`] and [`Peer::poll_event`], and moves [`Peer::next_timeout`].
pub struct Peer {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    /// Our host candidates, and those of addresses that we are to leave with the next restart.
    local: Vec<Candidate>,
    left: Vec<Candidate>,
    kinds: HashMap<Mid, Kind>,
    /// What each m-line of the last offers carries: its SSRCs and its payload types.
    carried: HashMap<Mid, String>,
    keyframe_asked: HashMap<Mid, Instant>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    timeout: Instant,
    closing: Option<CloseReason>,
    closed: bool,
}

impl Peer {
    /// A peer that knows nobody yet.
    ///
    /// # Errors
    /// When a local address cannot be a candidate (0.0.0.0, multicast).
    pub fn new(now: Instant, config: &PeerConfig) -> Result<Peer, Error> {
        let mut builder = RtcConfig::new()
            .clear_codecs()
            .clear_extension_map()
            .set_extension(TWCC_EXTENSION, Extension::TransportSequenceNumber)
            .set_extension(MID_EXTENSION, Extension::RtpMid)
            .set_extension(LEVEL_EXTENSION, Extension::AudioLevel);
        for codec in &config.codecs {
            match codec {
                Codec::Opus => builder.codec_config().enable_opus(true, false),
                Codec::Vp8 => builder.codec_config().enable_vp8(true),
                Codec::H264 => builder.codec_config().enable_h264(true),
            }
        }
        let mut rtc = builder.build(now);
        let mut local = Vec::new();
        for address in &config.local {
            let candidate = Candidate::host(*address, Protocol::Udp)
                .map_err(|error| Error(format!("{address} cannot be a host candidate: {error}")))?;
            local.push(candidate.clone());
            rtc.add_local_candidate(candidate);
        }
        let mut peer = Peer {
            rtc,
            pending: None,
            local,
            left: Vec::new(),
            kinds: HashMap::new(),
            carried: HashMap::new(),
            keyframe_asked: HashMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            timeout: now,
            closing: None,
            closed: false,
        };
        peer.drain(now);
        Ok(peer)
    }

    /// Send a frame. False when there is nobody to send it to yet: then it is dropped.
    ///
    /// # Errors
    /// When the m-line does not send, or the codec was not agreed for it.
    pub fn write_frame(&mut self, now: Instant, frame: OutgoingFrame) -> Result<bool, Error> {
        self.alive()?;
        if !self.rtc.is_connected() {
            return Ok(false);
        }
        if !self
            .rtc
            .media(frame.mid)
            .is_some_and(|media| media.direction().is_sending())
        {
            return Err(Error(format!("m-line {} does not send", frame.mid)));
        }
        let wire = frame.codec.wire();
        let mut writer = self
            .rtc
            .writer(frame.mid)
            .ok_or_else(|| Error(format!("no m-line {} to send on", frame.mid)))?;
        let (pt, clock) = writer
            .payload_params()
            .find(|params| {
                params.spec().codec == wire && params.spec().format.packetization_mode != Some(0)
            })
            .map(|params| (params.pt(), params.spec().clock_rate))
            .ok_or_else(|| {
                Error(format!(
                    "{} was not agreed for m-line {}",
                    frame.codec.name(),
                    frame.mid
                ))
            })?;
        if let Some(level) = frame.level {
            // Whether it is speech is for the server to judge.
            writer = writer.audio_level(-(level.min(127) as i8), false);
        }
        writer
            .write(pt, now, MediaTime::new(frame.timestamp, clock), frame.data)
            .map_err(failed("the frame cannot be sent"))?;
        self.drain(now);
        Ok(true)
    }

    /// Ask the sender of a track for a keyframe, at most every 500 ms. False when it was asked just before, or when
    /// nobody is known to send it.
    pub fn request_keyframe(&mut self, now: Instant, mid: Mid) -> bool {
        let asked = self.ask_keyframe(now, mid);
        self.drain(now);
        asked
    }

    fn ask_keyframe(&mut self, now: Instant, mid: Mid) -> bool {
        let recent = self
            .keyframe_asked
            .get(&mid)
            .is_some_and(|at| now.duration_since(*at) < KEYFRAME_REQUEST_INTERVAL);
        if recent || !self.rtc.is_connected() {
            return false;
        }
        let Some(mut writer) = self.rtc.writer(mid) else {
            return false;
        };
        let asked = writer
            .request_keyframe(None, KeyframeRequestKind::Pli)
            .is_ok();
        if asked {
            self.keyframe_asked.insert(mid, now);
        }
        asked
    }

    /// A datagram arrived from `source` at our socket `destination`. What is not for this peer is ignored.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) {
        let Ok(contents) = DatagramRecv::try_from(datagram) else {
            return;
        };
        let input = Input::Receive(
            now,
            Receive {
                proto: Protocol::Udp,
                source,
                destination,
                contents,
            },
        );
        if self.rtc.accepts(&input) {
            self.input(now, input);
        }
    }

    /// The time of [`Peer::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.input(now, Input::Timeout(now));
    }

    fn input(&mut self, now: Instant, input: Input<'_>) {
        if self.closed {
            return;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            self.failed(&error);
        }
        self.drain(now);
    }

    /// When [`Peer::handle_timeout`] wants to be called next; none once closed.
    pub fn next_timeout(&self) -> Option<Instant> {
        (!self.closed).then_some(self.timeout)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.rtc.is_connected()
    }

    /// Whether [`Event::Closed`] was given.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Say goodbye (RTCP BYE, DTLS close_notify). The datagrams are in [`Peer::poll_transmit`].
    pub fn close(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        self.closing = Some(CloseReason::Local);
        let _ = self.rtc.close();
        self.drain(now);
        self.rtc.disconnect();
        self.drain(now);
    }

    fn alive(&self) -> Result<(), Error> {
        if self.closed {
            Err(Error("the peer connection is closed".into()))
        } else {
            Ok(())
        }
    }

    fn failed(&mut self, error: &RtcError) {
        // str0m closes itself when an error is fatal; anything else concerned one datagram.
        if !self.rtc.is_alive() && self.closing.is_none() {
            self.closing = Some(CloseReason::Failed(error.to_string()));
        }
    }

    /// Move everything out of str0m: it wants to be drained after each change.
    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => self.transmits.push_back(Transmit {
                    source: transmit.source,
                    destination: transmit.destination,
                    contents: transmit.contents.to_vec(),
                }),
                Ok(Output::Event(event)) => self.on_event(now, event),
                Err(error) => {
                    self.failed(&error);
                    self.timeout = now + Duration::from_millis(10);
                    break;
                }
            }
        }
        if !self.closed && !self.rtc.is_alive() {
            self.closed = true;
            let reason = self.closing.take().unwrap_or(CloseReason::Remote);
            self.events.push_back(Event::Closed(reason));
        }
    }

    fn on_event(&mut self, now: Instant, event: str0m::Event) {
        use str0m::Event as Rtc;
        let event = match event {
            Rtc::Connected => Event::Connected,
            Rtc::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                Event::Ice(IceState::Disconnected)
            }
            Rtc::IceConnectionStateChange(IceConnectionState::Checking) => {
                Event::Ice(IceState::Checking)
            }
            Rtc::IceConnectionStateChange(
                IceConnectionState::Connected | IceConnectionState::Completed,
            ) => Event::Ice(IceState::Connected),
            Rtc::MediaAdded(media) => {
                let kind = if media.kind == MediaKind::Audio {
                    Kind::Audio
                } else {
                    Kind::Video
                };
                self.kinds.insert(media.mid, kind);
                Event::Track {
                    mid: media.mid,
                    kind,
                    receiving: media.direction.is_receiving(),
                }
            }
            Rtc::MediaChanged(media) => {
                let Some(kind) = self.kinds.get(&media.mid) else {
                    return;
                };
                Event::Track {
                    mid: media.mid,
                    kind: *kind,
                    receiving: media.direction.is_receiving(),
                }
            }
            Rtc::MediaData(data) => {
                let Some(frame) = frame(data) else { return };
                if frame.kind == Kind::Video && !frame.contiguous && !frame.keyframe {
                    self.ask_keyframe(now, frame.mid);
                }
                Event::Frame(frame)
            }
            Rtc::KeyframeRequest(request) => Event::KeyframeRequest { mid: request.mid },
            Rtc::Closed => {
                self.closing.get_or_insert(CloseReason::Remote);
                return;
            }
            _ => return,
        };
        self.events.push_back(event);
    }
}

fn frame(data: MediaData) -> Option<Frame> {
    let codec = Codec::from_wire(data.params.spec().codec)?;
    Some(Frame {
        mid: data.mid,
        kind: if codec == Codec::Opus {
            Kind::Audio
        } else {
            Kind::Video
        },
        codec,
        timestamp: data.time.numer(),
        clock_rate: data.time.denom(),
        keyframe: data.is_keyframe(),
        contiguous: data.contiguous,
        data: data.data,
    })
}
