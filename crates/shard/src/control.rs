//! The control messages of UDP sockets: which of our addresses a datagram came to or leaves from (RFC
//! 3542 §6, and IP_PKTINFO of ip(7)), how long the pieces of a message are, and when it came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

/// Bytes of the largest control messages that travel together, and a little more: an IPv6 address with its interface,
/// a segment size and a time.
const ROOM: usize = 128;

/// Room for the control messages of one message, aligned as they want it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control([u8; ROOM]);

/// What the kernel says about a message that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The address of ours that it came to, where the socket tells.
    pub(crate) local: Option<IpAddr>,
    /// The size of the datagrams in a coalesced message (UDP_GRO).
    pub(crate) segment: Option<usize>,
    /// When it came, by the wall clock: a coalesced one when its first datagram did (SO_TIMESTAMPNS).
    pub(crate) stamp: Option<SystemTime>,
}

impl Control {
    /// Nothing in it.
    pub(crate) fn new() -> Control {
        Control([0; ROOM])
    }

    /// Let the kernel write into it.
    pub(crate) fn receive_into(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = ROOM as _;
    }

    /// Tell the kernel from which address a message leaves and where it is cut (UDP_SEGMENT). The
    /// control messages live in `self` for as long as `header` is used.
    pub(crate) fn write(
        &mut self,
        header: &mut libc::msghdr,
        local: Option<IpAddr>,
        ipv6_socket: bool,
        segment: Option<u16>,
    ) {
        let mut used = 0;
        match local {
            Some(IpAddr::V4(ip)) if !ipv6_socket => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                used = self.put(used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(ip) if ipv6_socket => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: ip.octets(),
                    },
                    ipi6_ifindex: 0,
                };
                used = self.put(used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            // A socket of IPv4 never heard of such an address.
            _ => {}
        }
        if let Some(segment) = segment {
            used = self.put(used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
        }
        if used > 0 {
            header.msg_control = self.0.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
    }

    /// Put one control message behind what is there. Returns the bytes used then.
    fn put<T: Copy>(
        &mut self,
        used: usize,
        level: libc::c_int,
        kind: libc::c_int,
        value: T,
    ) -> usize {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size), libc::CMSG_LEN(size)) };
        let end = used + space as usize;
        assert!(end <= ROOM, "control messages need {end} bytes");
        // SAFETY: there is room for the header and the value behind `used` (the line above), which is
        // a sum of CMSG_SPACEs and so aligned like the buffer; CMSG_DATA is inside that room.
        unsafe {
            let message = self.0.as_mut_ptr().add(used).cast::<libc::cmsghdr>();
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = len as _;
            libc::CMSG_DATA(message).cast::<T>().write_unaligned(value);
        }
        end
    }
}

/// Read what the kernel says about a message.
///
/// # Safety
/// `header` was filled by recvmsg or recvmmsg, and its control buffer is still there.
pub(crate) unsafe fn read(header: &libc::msghdr) -> Arrived {
    let mut arrived = Arrived::default();
    // SAFETY: by this function's contract; CMSG_FIRSTHDR, CMSG_NXTHDR and CMSG_DATA stay within
    // msg_controllen, and each kind carries the type it is read as, without assuming alignment.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.cast::<libc::c_int>().read_unaligned();
                    arrived.segment = usize::try_from(size).ok().filter(|size| *size > 0);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    arrived.stamp = wall_time(time);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    // Not ipi_addr: that of a broadcast is nobody's to answer from.
                    let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    arrived.local = Some(ip.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    arrived.local = Some(match ip.to_ipv4_mapped() {
                        Some(ip) => ip.into(),
                        None => ip.into(),
                    });
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    // What went to many is answered from whichever address the way back begins at.
    arrived.local = arrived
        .local
        .filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
    arrived
}

/// None for a time that is none: before 1970, or with more than a second of nanoseconds.
fn wall_time(time: libc::timespec) -> Option<SystemTime> {
    let (seconds, nanos) = (
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    );
    let since = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}
