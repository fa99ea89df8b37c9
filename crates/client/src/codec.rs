//! The codecs of a call, by our names and by str0m's.

use str0m::format::Codec as WireCodec;

/// The codecs a peer can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus, RFC 7587.
    Opus,
    /// VP8, RFC 7741.
    Vp8,
    /// H264, RFC 6184, packetization-mode 1.
    H264,
}

impl Codec {
    /// A stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Vp8 => "vp8",
            Codec::H264 => "h264",
        }
    }

    /// The codec of that name.
    pub fn from_name(name: &str) -> Option<Codec> {
        [Codec::Opus, Codec::Vp8, Codec::H264]
            .into_iter()
            .find(|codec| codec.name() == name)
    }

    pub(crate) fn wire(self) -> WireCodec {
        match self {
            Codec::Opus => WireCodec::Opus,
            Codec::Vp8 => WireCodec::Vp8,
            Codec::H264 => WireCodec::H264,
        }
    }

    pub(crate) fn from_wire(codec: WireCodec) -> Option<Codec> {
        [Codec::Opus, Codec::Vp8, Codec::H264]
            .into_iter()
            .find(|ours| ours.wire() == codec)
    }
}
