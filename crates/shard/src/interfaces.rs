//! The addresses of this machine.

use crate::address::RawAddress;
use std::io;
use std::net::IpAddr;

/// The address of every interface that is up, loopback included, in the system's order.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
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
        if let Some(ip) = address.map(|address| address.ip())
            && !addresses.contains(&ip)
        {
            addresses.push(ip);
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
        assert!(addresses.iter().any(IpAddr::is_loopback), "{addresses:?}");
    }
}
