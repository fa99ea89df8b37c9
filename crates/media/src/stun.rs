//! STUN binding messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1): parsed without copying, written into
//! the sender's buffer. Credentials are the short-term mechanism alone (RFC 8489 §9.1), as ICE prescribes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

use crate::bytes::{Writer, u16_at, u32_at, u64_at};

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
        &[0, 0, (code / 100) as u8 & 7, (code % 100) as u8],
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
mod tests {
    use super::*;
    use crate::num::Rng;

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt"; // RFC 5769 §2
    const ID: [u8; 12] = [
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn check(message: &StunMessage<'_>) {
        assert_eq!(message.transaction_id(), ID);
        assert!(message.verify_integrity(PASSWORD));
        assert!(!message.verify_integrity(b"another password"));
        assert!(message.has_valid_fingerprint());
        assert_eq!(message.unknown_required(), &[] as &[u16]);
    }

    #[test]
    fn the_sample_request_of_rfc_5769_is_read() {
        let datagram = bytes(
            "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74
             002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020
             000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf",
        );
        let message = StunMessage::parse(&datagram).unwrap();
        check(&message);
        assert!(message.is_binding_request());
        assert_eq!(message.username(), Some("evtj:h6vY"));
        assert_eq!(message.priority(), Some(0x6e00_01ff));
        assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
        assert_eq!(message.ice_controlling(), None);
        assert!(!message.use_candidate());
    }

    #[test]
    fn the_sample_responses_of_rfc_5769_are_read() {
        let datagram = bytes(
            "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643
             000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96",
        );
        let message = StunMessage::parse(&datagram).unwrap();
        check(&message);
        assert!(message.is_binding_success());
        assert_eq!(
            message.xor_mapped_address(),
            Some("192.0.2.1:32853".parse().unwrap())
        );
        let datagram = bytes(
            "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220
             002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
             00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
        );
        let message = StunMessage::parse(&datagram).unwrap();
        check(&message);
        let mapped = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        assert_eq!(message.xor_mapped_address(), Some(mapped.parse().unwrap()));
    }

    #[test]
    fn a_written_request_reads_back_and_is_refused_when_a_byte_changes() {
        let request = BindingRequest {
            username: "abcdefgh:xyz",
            priority: 77,
            tie_breaker: 0x0102_0304_0506_0708,
            controlling: true,
            nominate: true,
        };
        let mut buf = [0; MAX_WRITTEN_LEN];
        let len = write_binding_request(&mut buf, ID, &request, PASSWORD);
        let message = StunMessage::parse(&buf[..len]).unwrap();
        check(&message);
        assert_eq!(message.username(), Some("abcdefgh:xyz"));
        assert_eq!(message.ice_controlling(), Some(request.tie_breaker));
        assert!(message.use_candidate() && message.priority() == Some(77));
        for at in 0..len - 8 {
            let mut changed = buf[..len].to_vec();
            changed[at] ^= 0x10;
            assert!(
                !StunMessage::parse(&changed)
                    .is_ok_and(|message| message.verify_integrity(PASSWORD)),
                "{at}"
            );
        }
        assert_eq!(
            write_binding_request(&mut [0; 60], ID, &request, PASSWORD),
            0
        );
    }

    #[test]
    fn answers_say_the_address_and_the_error_and_stay_small() {
        let mut buf = [0; MAX_WRITTEN_LEN];
        for (seen, said) in [
            ("192.0.2.7:5000", "192.0.2.7:5000"),
            ("[::ffff:192.0.2.7]:5000", "192.0.2.7:5000"),
            ("[2001:db8::5]:65535", "[2001:db8::5]:65535"),
        ] {
            let len = write_binding_success(&mut buf, ID, seen.parse().unwrap(), PASSWORD);
            let message = StunMessage::parse(&buf[..len]).unwrap();
            check(&message);
            assert_eq!(message.xor_mapped_address(), Some(said.parse().unwrap()));
            assert!(len <= 76);
        }
        let len = write_binding_error(&mut buf, ID, 420, PASSWORD, &[0x7777; 20]);
        let message = StunMessage::parse(&buf[..len]).unwrap();
        check(&message);
        assert!(message.is_binding_error() && message.error_code() == Some(420));
        let len = write_binding_error(&mut buf, ID, 487, PASSWORD, &[]);
        assert_eq!(
            StunMessage::parse(&buf[..len]).unwrap().error_code(),
            Some(487)
        );
    }

    /// A message of the given attributes, without integrity.
    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut buf = vec![0; 2000];
        let mut out = begin(&mut buf, BINDING_REQUEST, ID);
        for (kind, value) in attributes {
            attribute(&mut out, *kind, value);
        }
        let length = (out.len() - HEADER_LEN) as u16;
        out.set_u16(2, length);
        let len = out.finish();
        buf.truncate(len);
        buf
    }

    #[test]
    fn an_attribute_past_the_end_or_of_the_wrong_size_is_refused() {
        let mut datagram = message(&[(USERNAME, b"abcd")]);
        datagram[23] = 5;
        assert_eq!(
            StunMessage::parse(&datagram).unwrap_err(),
            StunError::Attribute
        );
        datagram[23] = 0xff;
        datagram[22] = 0xff;
        assert_eq!(
            StunMessage::parse(&datagram).unwrap_err(),
            StunError::Attribute
        );
        for (kind, len) in [
            (PRIORITY, 3),
            (USE_CANDIDATE, 1),
            (ICE_CONTROLLED, 4),
            (MESSAGE_INTEGRITY, 19),
            (FINGERPRINT, 8),
        ] {
            let datagram = message(&[(kind, &[0; 8][..len.min(8)])]);
            assert_eq!(
                StunMessage::parse(&datagram).unwrap_err(),
                StunError::Attribute,
                "{kind:#x}"
            );
        }
        assert_eq!(
            StunMessage::parse(&message(&[(USERNAME, &[b'a'; 509])])).unwrap_err(),
            StunError::Username
        );
        assert_eq!(
            StunMessage::parse(&message(&[(USERNAME, &[0xff; 8])])).unwrap_err(),
            StunError::Username
        );
    }

    #[test]
    fn the_first_of_two_counts_and_what_follows_the_integrity_does_not() {
        let datagram = message(&[
            (USERNAME, b"first"),
            (USERNAME, b"second"),
            (MESSAGE_INTEGRITY, &[0; 20]),
            (USE_CANDIDATE, b""),
            (0x7001, b""),
        ]);
        let parsed = StunMessage::parse(&datagram).unwrap();
        assert_eq!(parsed.username(), Some("first"));
        assert!(!parsed.use_candidate() && parsed.unknown_required().is_empty());
        assert!(!parsed.verify_integrity(PASSWORD) && !parsed.has_valid_fingerprint());
        let datagram = message(&[(FINGERPRINT, &[0; 4]), (MESSAGE_INTEGRITY, &[0; 20])]);
        assert_eq!(
            StunMessage::parse(&datagram).unwrap_err(),
            StunError::AfterFingerprint
        );
    }

    #[test]
    fn attributes_that_must_be_understood_are_named_eight_at_most() {
        let datagram = message(&[(0x7001, b"x"), (0x8888, b"optional"), (0x0003, b"")]);
        assert_eq!(
            StunMessage::parse(&datagram).unwrap().unknown_required(),
            &[0x7001, 0x0003]
        );
        let datagram = message(&[(0x7001, &[] as &[u8]); 20]);
        assert_eq!(
            StunMessage::parse(&datagram)
                .unwrap()
                .unknown_required()
                .len(),
            8
        );
    }

    #[test]
    fn lengths_and_cookies_that_lie_are_refused() {
        let good = message(&[]);
        assert!(StunMessage::parse(&good).is_ok());
        assert_eq!(
            StunMessage::parse(&good[..19]).unwrap_err(),
            StunError::NotStun
        );
        let mut longer = good.clone();
        longer.extend([0; 4]);
        assert_eq!(StunMessage::parse(&longer).unwrap_err(), StunError::Length);
        let mut other = good.clone();
        other[5] ^= 1;
        assert_eq!(StunMessage::parse(&other).unwrap_err(), StunError::NotStun);
    }

    #[test]
    fn random_attributes_never_panic() {
        let mut rng = Rng::new(5);
        for _ in 0..20_000 {
            let mut datagram = message(&[]);
            datagram
                .extend((0..rng.below(40) * 4).map(|_| (rng.next_u32() & rng.next_u32()) as u8));
            let length = (datagram.len() - HEADER_LEN) as u16;
            datagram[2..4].copy_from_slice(&length.to_be_bytes());
            if let Ok(message) = StunMessage::parse(&datagram) {
                let _ = (
                    message.verify_integrity(b"x"),
                    message.has_valid_fingerprint(),
                    message.username(),
                );
            }
        }
    }
}
