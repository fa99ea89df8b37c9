//! A path: one address of ours and one of the peer's.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// Where datagrams of a peer come from and where they come to (RFC 8445 §4, a candidate pair's addresses). What is
/// sent back leaves from the address that was asked, so that it passes the peer's NAT and its own checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address on it. None: the socket has one address only, or nobody said which it was.
    pub local: Option<IpAddr>,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

impl Path {
    /// Whether anything can be sent back: no datagram goes to port 0 (RFC 768), and what goes to all is for none.
    pub fn can_be_answered(&self) -> bool {
        let ip = self.remote.ip();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        self.remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
    }
}

impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Path {
        Path {
            local: None,
            remote,
        }
    }
}

/// In a few words instead of the dozen writes of a derived one: this runs once a packet.
impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_ip(self.remote.ip(), state);
        state.write_u32(self.remote.port().into());
        if let Some(local) = self.local {
            hash_ip(local, state);
        }
    }
}

fn hash_ip(ip: IpAddr, state: &mut impl Hasher) {
    match ip {
        IpAddr::V4(ip) => state.write_u32(ip.to_bits()),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            state.write_u64((bits >> 64) as u64);
            state.write_u64(bits as u64);
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local {
            Some(local) => write!(f, "{local} to {}", self.remote),
            None => self.remote.fmt(f),
        }
    }
}
