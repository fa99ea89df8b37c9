//! What a peer tells its owner.

use std::sync::Arc;

use str0m::media::Mid;

use crate::codec::Codec;

/// The kind of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// The name SDP uses for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }
    }
}

/// The state of the path to the other side (RFC 8445), as the agent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceState {
    /// Looking for a path.
    Checking,
    /// A path works.
    Connected,
    /// No check has been answered for a while; the path may come back.
    Disconnected,
}

impl IceState {
    /// A stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            IceState::Checking => "checking",
            IceState::Connected => "connected",
            IceState::Disconnected => "disconnected",
        }
    }
}

/// Why a peer is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it.
    Local,
    /// The other side closed it (DTLS close_notify).
    Remote,
    /// It cannot go on: the sentence says why.
    Failed(String),
}

/// One encoded frame that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The m-line it belongs to.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// How it is encoded. H264 is in Annex B form.
    pub codec: Codec,
    /// RTP media time in units of `clock_rate`, unwrapped.
    pub timestamp: u64,
    /// Ticks of `timestamp` in a second.
    pub clock_rate: u32,
    /// True for a video frame that decodes without earlier ones.
    pub keyframe: bool,
    /// False when packets before this frame are missing.
    pub contiguous: bool,
    /// The encoded frame.
    pub data: Arc<[u8]>,
}

/// Something that happened in a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// ICE and DTLS are through: frames written from now on are sent.
    Connected,
    /// The path changed its state.
    Ice(IceState),
    /// The other side's description gave an m-line to receive on, or changed whether it sends there.
    Track {
        /// The m-line.
        mid: Mid,
        /// What it carries.
        kind: Kind,
        /// Whether frames may arrive on it.
        receiving: bool,
    },
    /// A frame arrived.
    Frame(Frame),
    /// The other side wants a keyframe on a track we send (RFC 4585 PLI or RFC 5104 FIR).
    KeyframeRequest {
        /// The m-line that sends.
        mid: Mid,
    },
    /// The peer is over; the last event.
    Closed(CloseReason),
}
