//! STUN binding messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1): parsed without copying, written into
//! the sender's buffer. Credentials are the short-term mechanism alone (RFC 8489 §9.1), as ICE prescribes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

use crate::wire::bytes::{Writer, u16_at, u32_at, u64_at};

const HEADER_LEN: usize = 20; // RFC 8489 §5
const MAGIC_COOKIE: u32 = 0x2112_a442; // RFC 8489 §5
const INTEGRITY_LEN: usize = 20; // HMAC-SHA1, RFC 8489 §14.5
const FINGERPRINT_XOR: u32 = 0x5354_554e; // RFC 8489 §14.7
const MAX_USERNAME: usize = 508; // RFC 8489 §14.3: fewer than 509 bytes
const MAX_UNKNOWN: usize = 8; // ours: as many as an answer names

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

// Attribute types: RFC 8489 §18.3 and RFC 8445 §20.1.
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
const COMPREHENSION_OPTIONAL: u16 = 0x8000; // RFC 8489 §14

/// A buffer of this size holds any message this module writes, but for a request with an unusually long user name.
pub const MAX_WRITTEN_LEN: usize = 160;

/// Bytes of a check without a nomination, as [`write_binding_request`] writes it, with a user name of this length.
pub fn binding_request_len(username_len: usize) -> usize {
    let [name, role, priority, tag, fingerprint] =
        [username_len, 8, 4, INTEGRITY_LEN, 4].map(|value| 4 + value.next_multiple_of(4));
    HEADER_LEN + name + role + priority + tag + fingerprint
}

/// Whether the datagram is STUN: its first byte (RFC 7983 §7) and the magic cookie (RFC 8489 §5).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] < 4 && u32_at(datagram, 4) == Some(MAGIC_COOKIE)
}

/// Why a datagram is not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StunError {
    /// No STUN header: too short, wrong first bits or no magic cookie.
    NotStun,
    /// The length field is not that of the datagram, or not a multiple of four.
    Length,
    /// An attribute reaches past the end, or its value has the wrong size.
    Attribute,
    /// The user name is longer than RFC 8489 §14.3 allows or is not UTF-8.
    Username,
    /// FINGERPRINT is not the last attribute (RFC 8489 §14.7).
    AfterFingerprint,
}

/// A STUN message whose attributes all lie within it. Nothing in it is to be trusted before
/// [`verify_integrity`](StunMessage::verify_integrity).
#[derive(Clone, Debug)]
pub struct StunMessage<'a> {
    bytes: &'a [u8],
    message_type: u16,
    username: Option<&'a str>,
    use_candidate: bool,
    controlling: Option<u64>,
    controlled: Option<u64>,
    priority: Option<u32>,
    xor_mapped: Option<SocketAddr>,
    error_code: Option<u16>,
    integrity_at: Option<usize>,
    fingerprint_at: Option<usize>,
    unknown: [u16; MAX_UNKNOWN],
    unknown_len: usize,
}

impl<'a> StunMessage<'a> {
    /// Reads one message that fills the datagram. Of an attribute that appears twice the first one counts
    /// (RFC 8489 §14); what follows MESSAGE-INTEGRITY is ignored but for FINGERPRINT (RFC 8489 §14.5).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        if !is_stun(datagram) {
            return Err(StunError::NotStun);
        }
        let length = usize::from(u16_at(datagram, 2).unwrap_or_default());
        if length % 4 != 0 || HEADER_LEN + length != datagram.len() {
            return Err(StunError::Length);
        }
        let mut message = StunMessage {
            bytes: datagram,
            message_type: u16_at(datagram, 0).unwrap_or_default(),
            username: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            priority: None,
            xor_mapped: None,
            error_code: None,
            integrity_at: None,
            fingerprint_at: None,
            unknown: [0; MAX_UNKNOWN],
            unknown_len: 0,
        };
        let mut at = HEADER_LEN;
        while at < datagram.len() {
            if message.fingerprint_at.is_some() {
                return Err(StunError::AfterFingerprint);
            }
            let (Some(kind), Some(len)) = (u16_at(datagram, at), u16_at(datagram, at + 2)) else {
                return Err(StunError::Attribute);
            };
            let start = at + 4;
            let value = datagram
                .get(start..start + usize::from(len))
                .ok_or(StunError::Attribute)?;
            if kind == FINGERPRINT {
                if len != 4 {
                    return Err(StunError::Attribute);
                }
                message.fingerprint_at = Some(at);
            } else if message.integrity_at.is_none() {
                message.attribute(kind, value, at)?;
            }
            at = start + usize::from(len).next_multiple_of(4);
        }
        Ok(message)
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), StunError> {
        let sized = |len: usize| {
            if value.len() == len {
                Ok(())
            } else {
                Err(StunError::Attribute)
            }
        };
        match kind {
            USERNAME => {
                if value.len() > MAX_USERNAME {
                    return Err(StunError::Username);
                }
                let name = std::str::from_utf8(value).map_err(|_| StunError::Username)?;
                self.username.get_or_insert(name);
            }
            MESSAGE_INTEGRITY => {
                sized(INTEGRITY_LEN)?;
                self.integrity_at = Some(at);
            }
            USE_CANDIDATE => {
                sized(0)?;
                self.use_candidate = true;
            }
            PRIORITY => {
                sized(4)?;
                self.priority = self.priority.or(u32_at(value, 0));
            }
            ICE_CONTROLLING => {
                sized(8)?;
                self.controlling = self.controlling.or(u64_at(value, 0));
            }
            ICE_CONTROLLED => {
                sized(8)?;
                self.controlled = self.controlled.or(u64_at(value, 0));
            }
            XOR_MAPPED_ADDRESS => {
                let address =
                    read_xor_address(value, &self.transaction_id()).ok_or(StunError::Attribute)?;
                self.xor_mapped.get_or_insert(address);
            }
            ERROR_CODE => {
                let &[_, _, class, number] = value.first_chunk().ok_or(StunError::Attribute)?;
                self.error_code
                    .get_or_insert(u16::from(class & 7) * 100 + u16::from(number));
            }
            // Understood, and of no use to ICE: MAPPED-ADDRESS, REALM, NONCE, UNKNOWN-ATTRIBUTES and the attributes of
            // long-term credentials (RFC 8489 §18.3).
            0x0001 | UNKNOWN_ATTRIBUTES | 0x0014 | 0x0015 | 0x001c | 0x001d | 0x001e => {}
            COMPREHENSION_OPTIONAL.. => {}
            _ => {
                if let Some(slot) = self.unknown.get_mut(self.unknown_len) {
                    *slot = kind;
                    self.unknown_len += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether this is a Binding request.
    pub fn is_binding_request(&self) -> bool {
        self.message_type == BINDING_REQUEST
    }

    /// Whether this is the success response to a Binding request.
    pub fn is_binding_success(&self) -> bool {
        self.message_type == BINDING_SUCCESS
    }

    /// Whether this is the error response to a Binding request.
    pub fn is_binding_error(&self) -> bool {
        self.message_type == BINDING_ERROR
    }

    /// What an answer repeats and XOR-MAPPED-ADDRESS is masked with.
    pub fn transaction_id(&self) -> [u8; 12] {
        self.bytes
            .get(8..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or_default()
    }

    /// USERNAME: in ICE the receiver's ufrag, a colon and the sender's ufrag (RFC 8445 §7.2.2).
    pub fn username(&self) -> Option<&'a str> {
        self.username
    }

    /// Whether the sender nominates this path (RFC 8445 §8.1.1).
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// The tie-breaker of a sender in the controlling role.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.controlling
    }

    /// The tie-breaker of a sender in the controlled role.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.controlled
    }

    /// PRIORITY (RFC 8445 §7.1.1).
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// The address that the server saw, in a success response.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_mapped
    }

    /// The number of an error response, such as 487.
    pub fn error_code(&self) -> Option<u16> {
        self.error_code
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with this password, compared in constant time.
    pub fn verify_integrity(&self, password: &[u8]) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let Some(tag) = self.bytes.get(at + 4..at + 4 + INTEGRITY_LEN) else {
            return false;
        };
        let Some(computed) = integrity(&self.bytes[..at], password) else {
            return false;
        };
        constant_time::verify_slices_are_equal(computed.as_ref(), tag).is_ok()
    }

    /// Whether FINGERPRINT is there and right (RFC 8489 §14.7).
    pub fn has_valid_fingerprint(&self) -> bool {
        let Some(at) = self.fingerprint_at else {
            return false;
        };
        u32_at(self.bytes, at + 4) == Some(crc32(&self.bytes[..at]) ^ FINGERPRINT_XOR)
    }

    /// The first eight attribute types that must be understood and are not: they are named in a 420 answer
    /// (RFC 8489 §6.3.1).
    pub fn unknown_required(&self) -> &[u16] {
        self.unknown.get(..self.unknown_len).unwrap_or_default()
    }
}

/// HMAC-SHA1 over a message up to its MESSAGE-INTEGRITY, the length field counting as if the message ended with it
/// (RFC 8489 §14.5).
fn integrity(before: &[u8], password: &[u8]) -> Option<hmac::Tag> {
    let (head, attributes) = before.split_first_chunk::<HEADER_LEN>()?;
    let mut head = *head;
    let length = u16::try_from(attributes.len() + 4 + INTEGRITY_LEN).ok()?;
    head[2..4].copy_from_slice(&length.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut context = hmac::Context::with_key(&key);
    context.update(&head);
    context.update(attributes);
    Some(context.sign())
}

/// CRC-32 of ISO/IEC 3309, as FINGERPRINT uses it (RFC 8489 §14.7).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 {
                    value >> 1 ^ 0xedb8_8320
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| {
        TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8
    })
}

fn read_xor_address(value: &[u8], transaction_id: &[u8; 12]) -> Option<SocketAddr> {
    let port = u16_at(value, 2)? ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match (value.get(1)?, value.len()) {
        (1, 8) => IpAddr::V4(Ipv4Addr::from_bits(u32_at(value, 4)? ^ MAGIC_COOKIE)),
        (2, 20) => {
            let bits = u128::from_be_bytes(*value.get(4..)?.first_chunk()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ ipv6_mask(transaction_id)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The cookie followed by the transaction id (RFC 8489 §14.2).
fn ipv6_mask(transaction_id: &[u8; 12]) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction_id);
    u128::from_be_bytes(mask)
}

fn begin(buf: &mut [u8], message_type: u16, transaction_id: [u8; 12]) -> Writer<'_> {
    let mut out = Writer::new(buf);
    out.u16(message_type);
    out.u16(0);
    out.u32(MAGIC_COOKIE);
    out.put(&transaction_id);
    out
}

fn attribute(out: &mut Writer<'_>, kind: u16, value: &[u8]) {
    out.u16(kind);
    match u16::try_from(value.len()) {
        Ok(len) => out.u16(len),
        Err(_) => out.overflow(),
    }
    out.put(value);
    out.pad_to_word();
}

/// Ends a message with MESSAGE-INTEGRITY and FINGERPRINT; its length, 0 when it does not fit.
fn seal(mut out: Writer<'_>, password: &[u8]) -> usize {
    if out.is_overflown() {
        return 0;
    }
    let Some(tag) = integrity(out.written(), password) else {
        return 0;
    };
    attribute(&mut out, MESSAGE_INTEGRITY, tag.as_ref());
    let Ok(length) = u16::try_from(out.len() + 8 - HEADER_LEN) else {
        return 0;
    };
    out.set_u16(2, length);
    let fingerprint = crc32(out.written()) ^ FINGERPRINT_XOR;
    attribute(&mut out, FINGERPRINT, &fingerprint.to_be_bytes());
    out.finish()
}

/// Writes the success response to a Binding request: XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT. A v4-mapped
/// address is written as the IPv4 address it is. Returns the length, 0 when it does not fit.
pub fn write_binding_success(
    buf: &mut [u8],
    transaction_id: [u8; 12],
    mapped: SocketAddr,
    password: &[u8],
) -> usize {
    let mut out = begin(buf, BINDING_SUCCESS, transaction_id);
    let port = mapped.port() ^ (MAGIC_COOKIE >> 16) as u16;
    match mapped.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.u16(XOR_MAPPED_ADDRESS);
            out.u16(8);
            out.u16(1);
            out.u16(port);
            out.u32(ip.to_bits() ^ MAGIC_COOKIE);
        }
        IpAddr::V6(ip) => {
            out.u16(XOR_MAPPED_ADDRESS);
            out.u16(20);
            out.u16(2);
            out.u16(port);
            out.put(&(ip.to_bits() ^ ipv6_mask(&transaction_id)).to_be_bytes());
        }
    }
    seal(out, password)
}

/// Writes the error response to a Binding request: ERROR-CODE without a reason phrase (it would only make the answer
/// longer than the request), UNKNOWN-ATTRIBUTES when `unknown` names any, MESSAGE-INTEGRITY, FINGERPRINT. Returns the
/// length, 0 when it does not fit.
pub fn write_binding_error(
    buf: &mut [u8],
    transaction_id: [u8; 12],
    code: u16,
    password: &[u8],
    unknown: &[u16],
) -> usize {
    let mut out = begin(buf, BINDING_ERROR, transaction_id);
    attribute(
        &mut out,
        ERROR_CODE,
        &[0, 0, ((code / 100) & 7) as u8, (code % 100) as u8],
    );
    if !unknown.is_empty() {
        let mut types = [0; 2 * MAX_UNKNOWN];
        let named = unknown.len().min(MAX_UNKNOWN);
        for (slot, kind) in types.chunks_exact_mut(2).zip(unknown) {
            slot.copy_from_slice(&kind.to_be_bytes());
        }
        attribute(&mut out, UNKNOWN_ATTRIBUTES, &types[..2 * named]);
    }
    seal(out, password)
}

/// What a connectivity check says (RFC 8445 §7.2.2).
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// The receiver's ufrag, a colon, the sender's ufrag.
    pub username: &'a str,
    /// PRIORITY of the peer-reflexive candidate it would make.
    pub priority: u32,
    /// The tie-breaker.
    pub tie_breaker: u64,
    /// ICE-CONTROLLING rather than ICE-CONTROLLED.
    pub controlling: bool,
    /// USE-CANDIDATE.
    pub nominate: bool,
}

/// Writes a connectivity check. Returns the length, 0 when it does not fit.
pub fn write_binding_request(
    buf: &mut [u8],
    transaction_id: [u8; 12],
    request: &BindingRequest<'_>,
    password: &[u8],
) -> usize {
    let mut out = begin(buf, BINDING_REQUEST, transaction_id);
    attribute(&mut out, USERNAME, request.username.as_bytes());
    let role = if request.controlling {
        ICE_CONTROLLING
    } else {
        ICE_CONTROLLED
    };
    attribute(&mut out, role, &request.tie_breaker.to_be_bytes());
    attribute(&mut out, PRIORITY, &request.priority.to_be_bytes());
    if request.nominate {
        attribute(&mut out, USE_CANDIDATE, &[]);
    }
    seal(out, password)
}

#[cfg(test)]
mod tests;
