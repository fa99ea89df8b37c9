//! Session keys: their derivation (RFC 3711 §4.3, RFC 7714 §11) and the two ways to protect a packet with them.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

use super::{KeySalt, RTCP_INDEX_LEN, SrtpError, SrtpProfile};
use crate::wire::bytes::u32_at;
use crate::wire::num::Ssrc;

const GCM_TAG_LEN: usize = 16; // RFC 7714 §13.2
const SHA1_TAG_LEN: usize = 10; // RFC 3711 §5.2
const SHA1_KEY_LEN: usize = 20; // RFC 3711 §5.2
const ROC_LEN: usize = 4; // what SRTP authenticates besides the packet, RFC 3711 §4.2

/// Labels of the key derivation (RFC 3711 §4.3.2) for RTP; those for RTCP are three higher.
const LABEL_ENCRYPTION: u8 = 0;
const LABEL_AUTHENTICATION: u8 = 1;
const LABEL_SALT: u8 = 2;
const LABEL_RTCP: u8 = 3;

/// What makes a nonce unique, not yet masked with the salt: the SSRC and the 48-bit index.
pub(super) struct NonceInput {
    ssrc: [u8; 4],
    index: [u8; 6],
}

pub(super) fn rtp_nonce(ssrc: Ssrc, index: u64) -> NonceInput {
    let [_, _, index @ ..] = index.to_be_bytes();
    NonceInput {
        ssrc: ssrc.0.to_be_bytes(),
        index,
    }
}

pub(super) fn rtcp_nonce(ssrc: Ssrc, index: u32) -> NonceInput {
    rtp_nonce(ssrc, u64::from(index))
}

enum Cipher {
    Gcm(LessSafeKey),
    /// Apart, since its schedules take 1.7 kB that a peer with AES-GCM does not need.
    CmSha1(Box<CmSha1>),
}

struct CmSha1 {
    encryption: EncryptingKey,
    authentication: hmac::Key,
}

/// The keys for RTP or for RTCP of one direction, with their schedules.
pub(super) struct SessionKeys {
    cipher: Cipher,
    salt: [u8; 14],
}

impl SessionKeys {
    /// The keys for RTP and for RTCP (RFC 3711 §4.3).
    pub(super) fn derive(master: &KeySalt) -> Result<(Self, Self), SrtpError> {
        let schedule = counter_mode(master.key())?;
        let session = |labels: u8| {
            let (mut key, mut authentication, mut salt) = ([0; 32], [0; SHA1_KEY_LEN], [0; 14]);
            let key = &mut key[..master.profile.key_len()];
            derive_into(&schedule, &master.salt, labels + LABEL_ENCRYPTION, key)?;
            derive_into(
                &schedule,
                &master.salt,
                labels + LABEL_AUTHENTICATION,
                &mut authentication,
            )?;
            let salt_len = master.profile.salt_len();
            derive_into(
                &schedule,
                &master.salt,
                labels + LABEL_SALT,
                &mut salt[..salt_len],
            )?;
            Self::from_session(master.profile, key, &authentication, salt)
        };
        Ok((session(0)?, session(LABEL_RTCP)?))
    }

    /// Keys as the derivation yields them. `authentication` is of use to AES-CM alone.
    pub(super) fn from_session(
        profile: SrtpProfile,
        key: &[u8],
        authentication: &[u8],
        salt: [u8; 14],
    ) -> Result<Self, SrtpError> {
        let gcm = |algorithm| {
            let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::KeyLength)?;
            Ok::<_, SrtpError>(Cipher::Gcm(LessSafeKey::new(key)))
        };
        let cipher = match profile {
            SrtpProfile::AeadAes128Gcm => gcm(&AES_128_GCM)?,
            SrtpProfile::AeadAes256Gcm => gcm(&AES_256_GCM)?,
            SrtpProfile::Aes128CmSha1_80 => Cipher::CmSha1(Box::new(CmSha1 {
                encryption: counter_mode(key)?,
                authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication),
            })),
        };
        Ok(SessionKeys { cipher, salt })
    }

    pub(super) fn tag_len(&self) -> usize {
        match self.cipher {
            Cipher::Gcm(_) => GCM_TAG_LEN,
            Cipher::CmSha1(_) => SHA1_TAG_LEN,
        }
    }

    /// Seals an RTP packet; its last `tag_len` bytes are room for the tag.
    pub(super) fn seal(
        &self,
        packet: &mut [u8],
        header_len: usize,
        nonce: &NonceInput,
        roc: &[u8; ROC_LEN],
    ) -> Result<(), SrtpError> {
        let plain_len = packet
            .len()
            .checked_sub(self.tag_len())
            .ok_or(SrtpError::TooShort)?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (header, rest) = packet
                    .split_at_mut_checked(header_len)
                    .ok_or(SrtpError::TooShort)?;
                let at = plain_len
                    .checked_sub(header_len)
                    .ok_or(SrtpError::TooShort)?;
                let (body, tag) = rest.split_at_mut_checked(at).ok_or(SrtpError::TooShort)?;
                self.gcm_seal(key, nonce, header, body, tag)
            }
            Cipher::CmSha1(keys) => {
                let CmSha1 {
                    encryption,
                    authentication,
                } = &**keys;
                self.counter_mode(encryption, nonce, packet.get_mut(header_len..plain_len))?;
                let tag = sign_with_trailer(authentication, packet, plain_len, roc)?;
                packet[plain_len..].copy_from_slice(&tag);
                Ok(())
            }
        }
    }

    /// Opens an RTP packet with its tag; returns the length without it.
    pub(super) fn open(
        &self,
        packet: &mut [u8],
        header_len: usize,
        nonce: &NonceInput,
        roc: &[u8; ROC_LEN],
    ) -> Result<usize, SrtpError> {
        let plain_len = packet
            .len()
            .checked_sub(self.tag_len())
            .ok_or(SrtpError::TooShort)?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (header, body) = packet
                    .split_at_mut_checked(header_len)
                    .ok_or(SrtpError::TooShort)?;
                self.gcm_open(key, nonce, header, body)?;
            }
            Cipher::CmSha1(keys) => {
                let CmSha1 {
                    encryption,
                    authentication,
                } = &**keys;
                let mut tag = [0; SHA1_TAG_LEN];
                tag.copy_from_slice(&packet[plain_len..]);
                let computed = sign_with_trailer(authentication, packet, plain_len, roc)?;
                constant_time::verify_slices_are_equal(&computed, &tag)
                    .map_err(|_| SrtpError::BadTag)?;
                self.counter_mode(encryption, nonce, packet.get_mut(header_len..plain_len))?;
            }
        }
        Ok(plain_len)
    }

    /// Seals an RTCP packet; its last bytes are room for tag and index, whose order differs: RFC 3711 §3.4 puts the
    /// index before the tag, RFC 7714 §9.2 behind it.
    pub(super) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        nonce: &NonceInput,
        index_word: u32,
    ) -> Result<(), SrtpError> {
        let index_word = index_word.to_be_bytes();
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (sealed, index) = split_index(packet)?;
                index.copy_from_slice(&index_word);
                let (header, rest) = sealed
                    .split_at_mut_checked(header_len)
                    .ok_or(SrtpError::TooShort)?;
                let at = rest
                    .len()
                    .checked_sub(GCM_TAG_LEN)
                    .ok_or(SrtpError::TooShort)?;
                let (body, tag) = rest.split_at_mut(at);
                let aad = rtcp_aad(header, index_word)?;
                self.gcm_seal(key, nonce, &aad, body, tag)
            }
            Cipher::CmSha1(keys) => {
                let CmSha1 {
                    encryption,
                    authentication,
                } = &**keys;
                let signed_len = packet
                    .len()
                    .checked_sub(SHA1_TAG_LEN)
                    .ok_or(SrtpError::TooShort)?;
                let plain_len = signed_len
                    .checked_sub(RTCP_INDEX_LEN)
                    .ok_or(SrtpError::TooShort)?;
                self.counter_mode(encryption, nonce, packet.get_mut(header_len..plain_len))?;
                packet[plain_len..signed_len].copy_from_slice(&index_word);
                let tag = hmac::sign(authentication, &packet[..signed_len]);
                packet[signed_len..].copy_from_slice(&tag.as_ref()[..SHA1_TAG_LEN]);
                Ok(())
            }
        }
    }

    /// The E bit and index of an RTCP packet, if the packet is long enough for all its parts.
    pub(super) fn read_rtcp_index(&self, packet: &[u8], header_len: usize) -> Option<u32> {
        if packet.len() < header_len + self.tag_len() + RTCP_INDEX_LEN {
            return None;
        }
        match self.cipher {
            Cipher::Gcm(_) => u32_at(packet, packet.len() - RTCP_INDEX_LEN),
            Cipher::CmSha1(_) => u32_at(packet, packet.len() - SHA1_TAG_LEN - RTCP_INDEX_LEN),
        }
    }

    /// Opens an RTCP packet with tag and index; returns the length without them.
    pub(super) fn open_rtcp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        nonce: &NonceInput,
        index_word: u32,
    ) -> Result<usize, SrtpError> {
        let trailer = self.tag_len() + RTCP_INDEX_LEN;
        let plain_len = packet
            .len()
            .checked_sub(trailer)
            .ok_or(SrtpError::TooShort)?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                let (sealed, _) = split_index(packet)?;
                let (header, body) = sealed
                    .split_at_mut_checked(header_len)
                    .ok_or(SrtpError::TooShort)?;
                let aad = rtcp_aad(header, index_word.to_be_bytes())?;
                self.gcm_open(key, nonce, &aad, body)?;
            }
            Cipher::CmSha1(keys) => {
                let CmSha1 {
                    encryption,
                    authentication,
                } = &**keys;
                let signed_len = plain_len + RTCP_INDEX_LEN;
                let computed = hmac::sign(authentication, &packet[..signed_len]);
                constant_time::verify_slices_are_equal(
                    &computed.as_ref()[..SHA1_TAG_LEN],
                    &packet[signed_len..],
                )
                .map_err(|_| SrtpError::BadTag)?;
                self.counter_mode(encryption, nonce, packet.get_mut(header_len..plain_len))?;
            }
        }
        Ok(plain_len)
    }

    fn gcm_seal(
        &self,
        key: &LessSafeKey,
        nonce: &NonceInput,
        aad: &[u8],
        body: &mut [u8],
        tag_room: &mut [u8],
    ) -> Result<(), SrtpError> {
        let tag = key
            .seal_in_place_separate_tag(self.gcm_nonce(nonce), Aad::from(aad), body)
            .map_err(|_| SrtpError::Library)?;
        tag_room.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn gcm_open(
        &self,
        key: &LessSafeKey,
        nonce: &NonceInput,
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<(), SrtpError> {
        key.open_in_place(self.gcm_nonce(nonce), Aad::from(aad), body)
            .map(|_| ())
            .map_err(|_| SrtpError::BadTag)
    }

    /// Two zero bytes, SSRC and index, masked with the salt (RFC 7714 §8.1 for RTP, §9.1 for RTCP).
    fn gcm_nonce(&self, input: &NonceInput) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&input.ssrc);
        nonce[6..].copy_from_slice(&input.index);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// AES in counter mode over the body: decrypting is encrypting (RFC 3711 §4.1.1).
    fn counter_mode(
        &self,
        key: &EncryptingKey,
        input: &NonceInput,
        body: Option<&mut [u8]>,
    ) -> Result<(), SrtpError> {
        let body = body.ok_or(SrtpError::TooShort)?;
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        for (byte, input) in iv[4..14]
            .iter_mut()
            .zip(input.ssrc.iter().chain(&input.index))
        {
            *byte ^= input;
        }
        keystream(key, iv, body)
    }
}

fn counter_mode(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| SrtpError::KeyLength)?;
    EncryptingKey::ctr(key).map_err(|_| SrtpError::Library)
}

fn keystream(key: &EncryptingKey, iv: [u8; 16], in_out: &mut [u8]) -> Result<(), SrtpError> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(in_out, context)
        .map(|_| ())
        .map_err(|_| SrtpError::Library)
}

/// The pseudo-random function of RFC 3711 §4.3.3 with a key derivation rate of 0. A 96-bit salt counts as one of 112
/// bits that ends with zeros (RFC 7714 §11).
pub(super) fn derive_into(
    schedule: &EncryptingKey,
    master_salt: &[u8; 14],
    label: u8,
    out: &mut [u8],
) -> Result<(), SrtpError> {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(master_salt);
    iv[7] ^= label;
    out.fill(0);
    keystream(schedule, iv, out)
}

/// HMAC-SHA1-80 over the packet and the rollover counter (RFC 3711 §4.2). The counter is laid into the room of the
/// tag, so that the hash sees one piece; the caller overwrites it.
fn sign_with_trailer(
    key: &hmac::Key,
    packet: &mut [u8],
    plain_len: usize,
    trailer: &[u8; ROC_LEN],
) -> Result<[u8; SHA1_TAG_LEN], SrtpError> {
    let end = plain_len + ROC_LEN;
    packet
        .get_mut(plain_len..end)
        .ok_or(SrtpError::TooShort)?
        .copy_from_slice(trailer);
    let tag = hmac::sign(key, &packet[..end]);
    tag.as_ref()
        .first_chunk()
        .copied()
        .ok_or(SrtpError::Library)
}

fn split_index(packet: &mut [u8]) -> Result<(&mut [u8], &mut [u8]), SrtpError> {
    let at = packet
        .len()
        .checked_sub(RTCP_INDEX_LEN)
        .ok_or(SrtpError::TooShort)?;
    Ok(packet.split_at_mut(at))
}

/// The clear header followed by the index word (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], index_word: [u8; 4]) -> Result<[u8; 12], SrtpError> {
    let header: &[u8; 8] = header.try_into().map_err(|_| SrtpError::TooShort)?;
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(header);
    aad[8..].copy_from_slice(&index_word);
    Ok(aad)
}
