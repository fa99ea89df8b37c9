//! SRTP and SRTCP (RFC 3711) with AES-GCM (RFC 7714) or AES-CM and HMAC-SHA1: packets are sealed and opened in place,
//! by keys whose schedules are made once.

mod cipher;
mod replay;
#[cfg(test)]
mod tests;

use crate::wire::num::{SeqNo, Ssrc};
use crate::wire::rtp::{RtpError, RtpHeader};
use cipher::{SessionKeys, rtcp_nonce, rtp_nonce};
use replay::Streams;

/// What protecting a packet adds at most: a 16-byte tag (RFC 7714 §13.2) and SRTCP's 4-byte index (RFC 3711 §3.4).
/// SRTP alone adds [`SrtpProfile::tag_len`].
pub const SRTP_OVERHEAD: usize = 20;

/// How many streams one receiver keeps state for, a limit of ours: far more than one peer needs at a time, since a
/// stream that ended keeps its place. Nothing that failed authentication takes a place.
pub const MAX_STREAMS: usize = 256;

const RTCP_HEADER_LEN: usize = 8; // what SRTCP leaves in the clear, RFC 3711 §3.4
const RTCP_INDEX_LEN: usize = 4; // the E bit and the 31-bit index
const RTCP_ENCRYPTED: u32 = 0x8000_0000;

/// How media is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// SRTP_AES128_CM_HMAC_SHA1_80 (RFC 5764 §4.1.2).
    Aes128CmSha1_80,
    /// SRTP_AEAD_AES_128_GCM (RFC 7714 §14.2).
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM (RFC 7714 §14.2).
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// The name it is registered under, without its prefix.
    pub fn name(self) -> &'static str {
        match self {
            SrtpProfile::Aes128CmSha1_80 => "AES128_CM_HMAC_SHA1_80",
            SrtpProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            SrtpProfile::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of a master key.
    pub fn key_len(self) -> usize {
        match self {
            SrtpProfile::Aes128CmSha1_80 | SrtpProfile::AeadAes128Gcm => 16,
            SrtpProfile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    pub fn salt_len(self) -> usize {
        match self {
            SrtpProfile::Aes128CmSha1_80 => 14,
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of the tag that follows each packet.
    pub fn tag_len(self) -> usize {
        match self {
            SrtpProfile::Aes128CmSha1_80 => 10,
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 16,
        }
    }

    /// Bytes to ask the DTLS exporter for (RFC 5764 §4.2).
    pub fn exporter_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Why a packet was not protected or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpError {
    /// Too short for its header and its tag.
    TooShort,
    /// The clear header is not that of RTP or RTCP.
    Malformed,
    /// The tag is not right: the packet was changed, or made with other keys.
    BadTag,
    /// This index has been accepted before.
    Replayed,
    /// The index is older than the replay window reaches.
    TooOld,
    /// SRTCP that is authenticated but not encrypted; no peer of ours negotiates that.
    NotEncrypted,
    /// The peer has used more streams than [`MAX_STREAMS`].
    TooManyStreams,
    /// The buffer has no room for tag and index.
    NoRoom,
    /// The 31-bit index of SRTCP has run out; RFC 3711 §9.2 forbids to send more under this key.
    KeyExhausted,
    /// The key material has the wrong length.
    KeyLength,
    /// The cryptographic library refused.
    Library,
}

impl From<RtpError> for SrtpError {
    fn from(error: RtpError) -> Self {
        match error {
            RtpError::Truncated => SrtpError::TooShort,
            RtpError::Version | RtpError::Padding => SrtpError::Malformed,
        }
    }
}

/// Master key and master salt of one direction.
#[derive(Clone)]
pub struct KeySalt {
    profile: SrtpProfile,
    key: [u8; 32],
    salt: [u8; 14],
}

impl KeySalt {
    /// Takes both as the profile wants them.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::KeyLength);
        }
        let mut keys = KeySalt {
            profile,
            key: [0; 32],
            salt: [0; 14],
        };
        keys.key[..key.len()].copy_from_slice(key);
        keys.salt[..salt.len()].copy_from_slice(salt);
        Ok(keys)
    }

    /// The profile these keys are for.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }
}

impl std::fmt::Debug for KeySalt {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySalt")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The keys that a DTLS handshake yields.
#[derive(Clone, Debug)]
pub struct SrtpKeys {
    /// What the DTLS client protects with.
    pub client: KeySalt,
    /// What the DTLS server protects with.
    pub server: KeySalt,
}

impl SrtpKeys {
    /// Splits what the exporter gave, in the order of RFC 5764 §4.2: both keys, then both salts.
    pub fn from_exporter(profile: SrtpProfile, material: &[u8]) -> Result<Self, SrtpError> {
        if material.len() != profile.exporter_len() {
            return Err(SrtpError::KeyLength);
        }
        let (keys, salts) = material.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Ok(SrtpKeys {
            client: KeySalt::new(profile, client_key, client_salt)?,
            server: KeySalt::new(profile, server_key, server_salt)?,
        })
    }

    /// The same for the other side.
    pub fn swapped(self) -> Self {
        SrtpKeys {
            client: self.server,
            server: self.client,
        }
    }
}

/// Protects what one side sends.
pub struct SrtpSender {
    rtp: SessionKeys,
    rtcp: SessionKeys,
    rtcp_index: u32,
}

impl SrtpSender {
    /// Derives the session keys.
    pub fn new(keys: &KeySalt) -> Result<Self, SrtpError> {
        let (rtp, rtcp) = SessionKeys::derive(keys)?;
        Ok(SrtpSender {
            rtp,
            rtcp,
            rtcp_index: 0,
        })
    }

    /// Seals the RTP packet in the first `plain_len` bytes and appends the tag; returns the length to send.
    ///
    /// `roc` is the rollover counter of the packet's sequence number (RFC 3711 §3.3.1). The caller numbers its
    /// streams, so it knows; and it must never seal two different packets under one (SSRC, roc, sequence number).
    /// The router asks `OutgoingStreams` before each.
    pub fn protect_rtp(
        &self,
        packet: &mut [u8],
        plain_len: usize,
        roc: u32,
    ) -> Result<usize, SrtpError> {
        let plain = packet.get(..plain_len).ok_or(SrtpError::NoRoom)?;
        let header = RtpHeader::parse(plain)?;
        let total = plain_len + self.rtp.tag_len();
        let packet = packet.get_mut(..total).ok_or(SrtpError::NoRoom)?;
        let nonce = rtp_nonce(header.ssrc, index_of(roc, header.seq));
        self.rtp
            .seal(packet, header.header_len, &nonce, &roc.to_be_bytes())?;
        Ok(total)
    }

    /// Seals the compound RTCP packet in the first `plain_len` bytes and appends tag and index; returns the length to
    /// send. One index counts for all our SSRCs: unique for each, as RFC 3711 §3.4 needs it.
    pub fn protect_rtcp(
        &mut self,
        packet: &mut [u8],
        plain_len: usize,
    ) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet.get(..plain_len).ok_or(SrtpError::NoRoom)?)?;
        let total = plain_len + self.rtcp.tag_len() + RTCP_INDEX_LEN;
        let packet = packet.get_mut(..total).ok_or(SrtpError::NoRoom)?;
        if self.rtcp_index >= RTCP_ENCRYPTED {
            return Err(SrtpError::KeyExhausted);
        }
        let index = self.rtcp_index;
        self.rtcp_index += 1;
        self.rtcp.seal_rtcp(
            packet,
            RTCP_HEADER_LEN,
            &rtcp_nonce(ssrc, index),
            index | RTCP_ENCRYPTED,
        )?;
        Ok(total)
    }
}

/// Opens what the other side sends. Its rollover counters and replay windows are made for a stream once the first
/// packet of it was authenticated, never before.
pub struct SrtpReceiver {
    rtp: SessionKeys,
    rtcp: SessionKeys,
    rtp_streams: Streams,
    rtcp_streams: Streams,
    newest: bool,
}

impl SrtpReceiver {
    /// Derives the session keys.
    pub fn new(keys: &KeySalt) -> Result<Self, SrtpError> {
        let (rtp, rtcp) = SessionKeys::derive(keys)?;
        Ok(SrtpReceiver {
            rtp,
            rtcp,
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
            newest: false,
        })
    }

    /// Opens an SRTP packet that fills `packet`; returns the length of the RTP packet at its start. After an error the
    /// bytes behind the header are undefined.
    ///
    /// A stream starts with rollover counter 0, so a peer that loses everything up to its first wrap is not understood
    /// before it starts another stream; senders avoid that by starting in the lower half (RFC 3711 §3.3.1).
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let header = RtpHeader::parse(packet)?;
        let body = packet.len() - header.header_len;
        body.checked_sub(self.rtp.tag_len())
            .ok_or(SrtpError::TooShort)?;
        let (index, place) = self
            .rtp_streams
            .check(header.ssrc, |newest| estimate_index(newest, header.seq))?;
        let roc = (index >> 16) as u32;
        let nonce = rtp_nonce(header.ssrc, index);
        let plain_len = self
            .rtp
            .open(packet, header.header_len, &nonce, &roc.to_be_bytes())?;
        self.newest = self.rtp_streams.accept(place, header.ssrc, index);
        Ok(plain_len)
    }

    /// Opens an SRTP packet under a given rollover counter, without and beside replay protection: for tests and for
    /// looking at captured traffic. Otherwise as [`SrtpReceiver::unprotect_rtp`].
    pub fn unprotect_rtp_at(&self, packet: &mut [u8], roc: u32) -> Result<usize, SrtpError> {
        let header = RtpHeader::parse(packet)?;
        let body = packet.len() - header.header_len;
        body.checked_sub(self.rtp.tag_len())
            .ok_or(SrtpError::TooShort)?;
        let nonce = rtp_nonce(header.ssrc, index_of(roc, header.seq));
        self.rtp
            .open(packet, header.header_len, &nonce, &roc.to_be_bytes())
    }

    /// Opens an SRTCP packet that fills `packet`; returns the length of the compound packet at its start. After an
    /// error the bytes behind the header are undefined.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let word = self
            .rtcp
            .read_rtcp_index(packet, RTCP_HEADER_LEN)
            .ok_or(SrtpError::TooShort)?;
        if word & RTCP_ENCRYPTED == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        let index = word & !RTCP_ENCRYPTED;
        let (_, place) = self.rtcp_streams.check(ssrc, |_| u64::from(index))?;
        let plain_len =
            self.rtcp
                .open_rtcp(packet, RTCP_HEADER_LEN, &rtcp_nonce(ssrc, index), word)?;
        self.newest = self.rtcp_streams.accept(place, ssrc, u64::from(index));
        Ok(plain_len)
    }

    /// Whether the packet opened last was newer than all that its stream had before. One that somebody held back for a
    /// while is not, nor is the first one of a stream.
    pub fn opened_the_newest(&self) -> bool {
        self.newest
    }

    /// How many streams there is state for, RTP and RTCP counted apart.
    pub fn stream_count(&self) -> usize {
        self.rtp_streams.len() + self.rtcp_streams.len()
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<Ssrc, SrtpError> {
    match packet.first_chunk::<RTCP_HEADER_LEN>() {
        None => Err(SrtpError::TooShort),
        Some(&[first, _, _, _, a, b, c, d]) if first >> 6 == 2 => {
            Ok(Ssrc(u32::from_be_bytes([a, b, c, d])))
        }
        Some(_) => Err(SrtpError::Malformed),
    }
}

/// The 48-bit index of a packet (RFC 3711 §3.3.1).
fn index_of(roc: u32, seq: SeqNo) -> u64 {
    u64::from(roc) << 16 | u64::from(seq.0)
}

/// The index with this sequence number that is nearest to the newest one accepted (RFC 3711 §3.3.1). In the first
/// cycle nothing lies before 0, so a number that seems to is taken as a long jump ahead.
fn estimate_index(newest: Option<u64>, seq: SeqNo) -> u64 {
    let Some(newest) = newest else {
        return u64::from(seq.0);
    };
    let distance = i64::from(SeqNo(newest as u16).distance_to(seq));
    newest
        .checked_add_signed(distance)
        .unwrap_or(u64::from(seq.0))
}
