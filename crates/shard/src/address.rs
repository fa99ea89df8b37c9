//! Socket addresses as the kernel reads and writes them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for either family; both begin with the family itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union RawAddress {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// Its size: what the kernel may write into it.
    pub(crate) const SIZE: libc::socklen_t = size_of::<RawAddress>() as libc::socklen_t;

    /// Nobody's address.
    pub(crate) fn unspecified() -> RawAddress {
        RawAddress {
            v6: libc::sockaddr_in6 {
                sin6_family: libc::AF_UNSPEC as libc::sa_family_t,
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
                sin6_scope_id: 0,
            },
        }
    }

    /// The address as a socket of that family takes it, and its length. An IPv6 socket reaches IPv4
    /// through mapped addresses (RFC 4291 §2.5.5.2).
    pub(crate) fn encode(address: SocketAddr, ipv6_socket: bool) -> (RawAddress, libc::socklen_t) {
        let v6 = |ip: Ipv6Addr, port: u16, flowinfo, scope_id| {
            let raw = RawAddress {
                v6: libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: port.to_be(),
                    sin6_flowinfo: flowinfo,
                    sin6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    sin6_scope_id: scope_id,
                },
            };
            (raw, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        };
        match address {
            SocketAddr::V4(to) if ipv6_socket => v6(to.ip().to_ipv6_mapped(), to.port(), 0, 0),
            SocketAddr::V4(to) => {
                let mut raw = RawAddress::unspecified();
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: to.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(to.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(to) => v6(*to.ip(), to.port(), to.flowinfo(), to.scope_id()),
        }
    }

    /// A copy of an address that someone else keeps.
    ///
    /// # Safety
    /// `address` is null or points at a sockaddr as long as its family says.
    pub(crate) unsafe fn copy(address: *const libc::sockaddr) -> RawAddress {
        let mut raw = RawAddress::unspecified();
        // SAFETY: by this function's contract the family tells what may be read.
        unsafe {
            if let Some(known) = address.as_ref() {
                match i32::from(known.sa_family) {
                    libc::AF_INET => raw.v4 = address.cast::<libc::sockaddr_in>().read_unaligned(),
                    libc::AF_INET6 => {
                        raw.v6 = address.cast::<libc::sockaddr_in6>().read_unaligned()
                    }
                    _ => {}
                }
            }
        }
        raw
    }

    /// What the kernel wrote. A mapped IPv4 address is told as IPv4, so that one peer has one name
    /// whatever the socket's family.
    pub(crate) fn decode(&self) -> Option<SocketAddr> {
        // SAFETY: every member of the union is plain old data that is fully initialised by
        // `unspecified`, and both families have the family field first.
        match i32::from(unsafe { self.family }) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in.
                let raw = unsafe { self.v4 };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in6.
                let raw = unsafe { self.v6 };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddrV4::new(ip, port).into(),
                    None => {
                        SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into()
                    }
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_through_the_kernels_form() {
        for (text, ipv6_socket) in [
            ("192.0.2.7:5004", false),
            ("192.0.2.7:5004", true),
            ("[2001:db8::7]:5004", true),
            ("[fe80::1%3]:65535", true),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let (raw, len) = RawAddress::encode(address, ipv6_socket);
            assert!(len <= RawAddress::SIZE);
            assert_eq!(raw.decode(), Some(address), "{text}");
        }
    }

    #[test]
    fn an_address_nobody_wrote_is_none() {
        assert_eq!(RawAddress::unspecified().decode(), None);
    }
}
