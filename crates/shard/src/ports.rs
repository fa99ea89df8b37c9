//! The port of a shard: one number for both protocols.

use crate::error::StartError;
use crate::socket;
use crate::tcp::listener;
use parlour_media::Protocol;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Ports that the system chooses until one of them is free for TCP, too.
const TRIES: usize = 64;

/// Bind an address for UDP and, if media may come over TCP, for that. Port 0: any that is free for all that is wanted.
pub(crate) fn bind(
    address: SocketAddr,
    tcp: bool,
) -> Result<(UdpSocket, Option<TcpListener>), StartError> {
    let failed = |protocol, address| {
        move |source| StartError::Bind {
            protocol,
            address,
            source,
        }
    };
    let mut taken = Vec::new();
    for _ in 0..TRIES {
        let socket = socket::bind(address).map_err(failed(Protocol::Udp, address))?;
        if !tcp {
            return Ok((socket, None));
        }
        let bound = socket
            .local_addr()
            .map_err(failed(Protocol::Udp, address))?;
        match listener::listen(bound) {
            Ok(listener) => return Ok((socket, Some(listener))),
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                // Kept until another one is found, or the system may choose it again.
                taken.push(socket);
            }
            Err(error) => return Err(failed(Protocol::Tcp, bound)(error)),
        }
    }
    let none = io::Error::from_raw_os_error(libc::EADDRINUSE);
    Err(failed(Protocol::Tcp, address)(none))
}
