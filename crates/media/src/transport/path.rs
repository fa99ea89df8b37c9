//! A path: one address of ours and one of the peer's, and what carries datagrams between them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// What carries the datagrams of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// As they are.
    #[default]
    Udp,
    /// Framed (RFC 4571) in a connection that the peer made (RFC 6544, a passive candidate of ours). The path is that
    /// connection: another one from the same address is another path, of which the router is told once this one is gone.
    Tcp,
}

impl Protocol {
    /// The stable name, as in candidates (RFC 8839 §5.1).
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        }
    }
}

/// Where datagrams of a peer come from and where they come to (RFC 8445 §4, a candidate pair's addresses). What is
/// sent back leaves from the address that was asked, so that it passes the peer's NAT and its own checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address on it. None: the socket has one address only, or nobody said which it was.
    pub local: Option<IpAddr>,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// What carries them.
    pub protocol: Protocol,
}

impl Path {
    /// Between these addresses, with UDP.
    pub fn udp(local: Option<IpAddr>, remote: SocketAddr) -> Path {
        Path {
            local,
            remote,
            protocol: Protocol::Udp,
        }
    }

    /// A connection between these addresses.
    pub fn tcp(local: Option<IpAddr>, remote: SocketAddr) -> Path {
        Path {
            local,
            remote,
            protocol: Protocol::Tcp,
        }
    }

    /// Whether it is a connection.
    pub fn is_tcp(&self) -> bool {
        self.protocol == Protocol::Tcp
    }

    /// Whether anything can be sent back: no datagram goes to port 0 (RFC 768), and what goes to all is for none.
    pub fn can_be_answered(&self) -> bool {
        let ip = self.remote.ip();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        self.remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
    }
}

impl From<SocketAddr> for Path {
    fn from(remote: SocketAddr) -> Path {
        Path::udp(None, remote)
    }
}

/// In a few words instead of the dozen writes of a derived one: this runs once a packet.
impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_ip(self.remote.ip(), state);
        let protocol = self.protocol as u32;
        state.write_u32(protocol << 16 | u32::from(self.remote.port()));
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
            Some(local) => write!(f, "{local} to {}", self.remote)?,
            None => self.remote.fmt(f)?,
        }
        match self.protocol {
            Protocol::Udp => Ok(()),
            Protocol::Tcp => f.write_str(" over TCP"),
        }
    }
}
