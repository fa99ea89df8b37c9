//! The addresses of this machine.

use crate::address::RawAddress;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;

/// One address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's name.
    pub interface: String,
    /// The address, without a zone.
    pub ip: IpAddr,
    /// Whether the interface has a carrier.
    pub running: bool,
}

/// The addresses of all interfaces that are up, loopback included, in the system's order.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: on success `list` is a list that is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut addresses = Vec::new();
    let mut next = list;
    // SAFETY: every entry is valid until the list is freed, and its address is null or as long as
    // its family says.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 {
            continue;
        }
        // SAFETY: as above.
        let address = unsafe { RawAddress::copy(entry.ifa_addr) }.decode();
        if let Some(ip) = address.map(|address| address.ip()) {
            // SAFETY: an entry has a name, which ends.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            addresses.push(InterfaceAddress {
                interface: name.to_string_lossy().into_owned(),
                ip,
                running: entry.ifa_flags & libc::IFF_RUNNING as libc::c_uint != 0,
            });
        }
    }
    // SAFETY: the list came from getifaddrs and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address() {
        let addresses = interface_addresses().unwrap();
        let loopback = addresses.iter().find(|it| it.ip.is_loopback());
        assert_eq!(loopback.unwrap().interface, "lo", "{addresses:?}");
    }
}
