//! A shard's UDP socket.

use crate::address::RawAddress;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Asked for in both directions: some 30 ms at 1 Gbit/s. The kernel may give less (net.core.rmem_max).
const BUFFER_BYTES: libc::c_int = 4 << 20;

/// Bind a port for media: non-blocking, large buffers, receive offload and arrival times where the
/// kernel has them. A socket of all addresses tells with each datagram which of them was asked.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            UdpSocket::from(bind_both_families(address, libc::SOCK_DGRAM)?)
        }
        _ => UdpSocket::bind(address)?,
    };
    socket.set_nonblocking(true)?;
    // Each of these is an improvement that the call works without.
    enlarge_buffers(&socket, BUFFER_BYTES);
    let _ = set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    // A datagram longer than some link on the way is fragmented instead of lost, and nobody can
    // shrink our packets with forged ICMP: media has no use for path MTU discovery.
    let _ = set(
        &socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_OMIT,
    );
    if matches!(address.ip(), IpAddr::V6(_)) {
        let _ = set(
            &socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        );
    }
    if address.ip().is_unspecified() {
        let (level, option) = match address.ip() {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        // Not an improvement: answers would leave from an address that nobody asked.
        set(&socket, level, option, 1)?;
    }
    Ok(socket)
}

/// A socket of all addresses of IPv6 and of IPv4, whatever the system makes of `::` by itself (net.ipv6.bindv6only).
pub(crate) fn bind_both_families(address: SocketAddr, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket has no memory arguments.
    let raw = unsafe { libc::socket(libc::AF_INET6, kind | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    if kind == libc::SOCK_STREAM {
        // As the standard library has it: connections of a server before this one may still linger.
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    let (name, len) = RawAddress::encode(address, true);
    // SAFETY: `name` is `len` readable bytes and outlives the call.
    match unsafe { libc::bind(raw, (&raw const name).cast(), len) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel cuts runs of datagrams that are sent on that socket: Linux does from 4.18 on.
pub(crate) fn can_segment(socket: &UdpSocket) -> bool {
    // 0: only those that say so, message by message.
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

/// Ask for buffers of that many bytes in both directions. The kernel may give less, and what that loses is counted
/// ([`kernel_drops`]).
pub fn enlarge_buffers(socket: &UdpSocket, bytes: libc::c_int) {
    for (forced, asked) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set(socket, libc::SOL_SOCKET, forced, bytes).is_err() {
            let _ = set(socket, libc::SOL_SOCKET, asked, bytes);
        }
    }
}

/// Datagrams that the kernel dropped because they were not read in time; 0 where it does not say.
pub fn kernel_drops(socket: BorrowedFd<'_>) -> u64 {
    /// Index of the drop counter in what SO_MEMINFO returns (linux/sock_diag.h).
    const DROPS: usize = 8;
    let mut info = [0_u32; DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` is `len` writable bytes and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if done == 0 { u64::from(info[DROPS]) } else { 0 }
}

/// Set one integer option. Fails with the kernel's error.
pub fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option's value is an int that outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own_network::with_loopback_mtu;
    use std::net::Ipv6Addr;
    use std::time::Duration;

    #[test]
    fn a_socket_of_all_addresses_hears_both_families_whatever_the_system_makes_of_it_by_itself() {
        let test = "socket::tests::a_socket_of_all_addresses_hears_both_families_whatever_the_system_makes_of_it_by_itself";
        with_loopback_mtu(test, 1500, || {
            std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap();
            let socket = bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
            socket.set_nonblocking(false).unwrap();
            let patience = Some(Duration::from_secs(30));
            socket.set_read_timeout(patience).unwrap();
            let port = socket.local_addr().unwrap().port();
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.send_to(b"hello", ("127.0.0.1", port)).unwrap();
            let (len, from) = socket.recv_from(&mut [0; 16]).unwrap();
            assert_eq!((len, from.port()), (5, peer.local_addr().unwrap().port()));
            let listener = crate::tcp::listener::listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
            let at = listener.local_addr().unwrap().port();
            std::net::TcpStream::connect(("127.0.0.1", at)).unwrap();
        });
    }
}
