//! Cookies (RFC 6347 §4.2.1): who sends one back has received what we sent to the peer's address.
//!
//! A cookie is made from a secret, the transport and the address, and not from the ClientHello as RFC 6347 proposes:
//! a forged ClientHello would have the peer sent a cookie that is not for its own, of which browsers take one only.

use super::records::{framed, record};
use crate::ids::TransportId;
use crate::transport::path::Path;
use aws_lc_rs::{constant_time, hmac};
use dimpl::CryptoError;
use dimpl::crypto::aws_lc_rs::default_provider;
use dimpl::crypto::{HashAlgorithm, HmacProvider};
use std::cell::Cell;
use std::net::IpAddr;

pub(crate) const COOKIE_LEN: usize = 32;

pub(crate) type Cookie = [u8; COOKIE_LEN];

/// The version that a HelloVerifyRequest has, whatever is spoken later (RFC 6347 §4.2.1).
const DTLS_1_0: [u8; 2] = [254, 255];

/// Makes cookies and tells its own.
pub(crate) struct Cookies {
    key: hmac::Key,
}

impl Cookies {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&key, b"dtls cookies");
        Cookies {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
        }
    }

    pub(crate) fn make(&self, transport: TransportId, path: Path) -> Cookie {
        let mut message = transport.0.to_be_bytes().to_vec();
        message.extend(path.remote.port().to_be_bytes());
        for ip in [Some(path.remote.ip()), path.local].into_iter().flatten() {
            match ip {
                IpAddr::V4(ip) => message.extend(ip.octets()),
                IpAddr::V6(ip) => message.extend(ip.octets()),
            }
        }
        let mut cookie = [0; COOKIE_LEN];
        cookie.copy_from_slice(hmac::sign(&self.key, &message).as_ref());
        cookie
    }
}

/// The datagram that asks for a cookie. Its number is always the same: were it that of the ClientHello, as RFC 6347
/// has it, a forged one would choose which of our records the peer takes for old ones.
pub(crate) fn hello_verify_request(cookie: &Cookie) -> Vec<u8> {
    let body = [&DTLS_1_0[..], &[COOKIE_LEN as u8], cookie].concat();
    record(22, 0, &framed((3, 0), &body))
}

/// Where the cookie is in a ClientHello (RFC 6347 §4.2.1), or in the beginning of one: its length and itself.
fn place(hello: &[u8]) -> Option<(usize, usize)> {
    let session_len = usize::from(*hello.get(34)?);
    let at = 35 + session_len;
    let len = usize::from(*hello.get(at)?);
    (hello.len() > at + len).then_some((at, len))
}

/// The cookie in the beginning of a ClientHello.
pub(crate) fn cookie_of(hello: &[u8]) -> Option<&[u8]> {
    let (at, len) = place(hello)?;
    hello.get(at + 1..at + 1 + len)
}

/// Whether it is that one, in constant time.
pub(crate) fn is_cookie(sent: &[u8], cookie: &Cookie) -> bool {
    constant_time::verify_slices_are_equal(sent, cookie).is_ok()
}

/// A ClientHello as it was before its client was asked for a cookie.
pub(crate) fn without_cookie(hello: &[u8]) -> Vec<u8> {
    match place(hello) {
        Some((at, len)) => [&hello[..at], &[0], &hello[at + 1 + len..]].concat(),
        None => hello.to_vec(),
    }
}

thread_local! {
    static CHECKED: Cell<Option<Cookie>> = const { Cell::new(None) };
}

/// Lets dimpl take this cookie for its own while it works.
pub(crate) fn with_checked_cookie<T>(cookie: &[u8], work: impl FnOnce() -> T) -> T {
    CHECKED.set(cookie.try_into().ok());
    let done = work();
    CHECKED.set(None);
    done
}

/// dimpl makes a cookie for one association from the client's random. Ours was checked before there was an
/// association, so what dimpl gets for it is what came; while it hears a ClientHello it uses this function for nothing
/// else.
#[derive(Debug)]
pub(crate) struct CheckedCookie;

impl HmacProvider for CheckedCookie {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match CHECKED.get() {
            Some(cookie) => Ok(cookie),
            None => default_provider().hmac_provider.hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        default_provider().hmac_provider.hmac(hash, key, data, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn path(port: u16) -> Path {
        SocketAddr::from(([192, 0, 2, 7], port)).into()
    }

    #[test]
    fn a_cookie_is_of_one_server_one_transport_and_one_address() {
        let cookies = Cookies::new(&[7; 32]);
        let cookie = cookies.make(TransportId(1), path(5));
        assert!(is_cookie(&cookie, &cookies.make(TransportId(1), path(5))));
        let mut other_local = path(5);
        other_local.local = Some(IpAddr::from([192, 0, 2, 1]));
        for other in [
            cookies.make(TransportId(2), path(5)),
            cookies.make(TransportId(1), path(6)),
            cookies.make(TransportId(1), other_local),
            Cookies::new(&[8; 32]).make(TransportId(1), path(5)),
        ] {
            assert!(!is_cookie(&cookie, &other));
        }
        assert!(!is_cookie(&cookie[..31], &cookie) && !is_cookie(&[], &cookie));
    }

    #[test]
    fn the_cookie_of_a_hello_is_found_and_left_out_wherever_the_hello_is_cut() {
        for session in [0, 32] {
            let begin = [
                &[254, 253][..],
                &[9; 32],
                &[session],
                &[8; 32][..session.into()],
            ]
            .concat();
            let rest = [0, 2, 192, 43, 1, 0, 0, 0];
            let hello = [&begin[..], &[32], &[7; 32], &rest].concat();
            assert_eq!(cookie_of(&hello), Some(&[7; 32][..]));
            let without = [&begin[..], &[0], &rest].concat();
            assert_eq!(without_cookie(&hello), without);
            assert_eq!(without_cookie(&without), without);
            for len in 0..begin.len() + 33 {
                assert_eq!(cookie_of(&hello[..len]), None);
            }
        }
    }
}
