//! The few types of the wire modules that commands and events name.

/// A codec that can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
}

/// An RTP payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadType(pub u8);

/// An RTP synchronization source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ssrc(pub u32);

/// How media is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// RFC 5764 §4.1.2.
    Aes128CmSha1_80,
    /// RFC 7714 §14.2.
    AeadAes128Gcm,
    /// RFC 7714 §14.2.
    AeadAes256Gcm,
}
