//! The listening socket of a shard, and what is set on the sockets that it gives.

use crate::socket::{bind_both_families, set};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Connections that wait for being accepted: what comes while a shard does a turn.
const BACKLOG: libc::c_int = 1024;

/// Bytes that the system takes though it cannot send them yet. What is more stays with us, who know what may wait.
const UNSENT: libc::c_int = 16 * 1024;

/// A peer that acknowledges nothing of what it is sent for so long is gone.
const USER_TIMEOUT_MS: libc::c_int = 20_000;

/// Listen there without blocking.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match address {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            TcpListener::from(bind_both_families(address, libc::SOCK_STREAM)?)
        }
        _ => TcpListener::bind(address)?,
    };
    listener.set_nonblocking(true)?;
    // SAFETY: a listening socket of ours; listening again only changes the length of its queue.
    if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listener)
}

/// What a connection that carries media needs; each is an improvement that it works without.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = set(stream, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT);
    let _ = set(
        stream,
        libc::IPPROTO_TCP,
        libc::TCP_USER_TIMEOUT,
        USER_TIMEOUT_MS,
    );
}

/// Bytes that the system holds and has not sent yet; 0 where it does not say.
pub(crate) fn unsent(stream: &TcpStream) -> usize {
    /// linux/sockios.h.
    const SIOCOUTQNSD: libc::c_ulong = 0x894B;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, which outlives the call.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), SIOCOUTQNSD as _, &mut bytes) };
    if done == 0 {
        usize::try_from(bytes).unwrap_or_default()
    } else {
        0
    }
}

/// One peer has one name whatever the socket's family, as with UDP.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}
