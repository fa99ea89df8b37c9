//! Which ports the shards have: one block of numbers, the first shard's the lowest, so that a firewall needs one rule; and each
//! number for both protocols.

use crate::engine::EngineConfig;
use crate::error::StartError;
use crate::socket;
use crate::tcp::listener;
use parlour_media::Protocol;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Ports that the system chooses until one of them is free for TCP, too.
const TRIES: usize = 64;

/// Blocks that are tried when any will do. The system gives another one each time.
const ATTEMPTS: usize = 64;

/// What a shard has of its port.
pub(crate) type Sockets = (UdpSocket, Option<TcpListener>);

/// Bind an address for UDP and, if media may come over TCP, for that. Port 0: any that is free for all that is wanted.
pub(crate) fn bind(address: SocketAddr, tcp: bool) -> Result<Sockets, StartError> {
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

/// Bind a block of ports with `bind`, a port a shard, which says the port it got; all of them or none.
pub(crate) fn bind_block<S>(
    config: &EngineConfig,
    bind: impl Fn(SocketAddr) -> Result<(S, u16), StartError>,
) -> Result<Vec<(S, u16)>, StartError> {
    let (port, shards) = (config.port, config.shards);
    if !(1..=256).contains(&shards) {
        return Err(StartError::Invalid(format!(
            "{shards} media shards were asked for; 1 to 256 are possible"
        )));
    }
    let at = |port: u16| SocketAddr::new(config.bind, port);
    let last = usize::from(port) + shards - 1;
    if last > usize::from(u16::MAX) {
        return Err(StartError::Invalid(format!(
            "{shards} media ports from {port} up would end at {last}, and the last port is 65535"
        )));
    }
    let attempts = if port == 0 { ATTEMPTS } else { 1 };
    // Firsts of blocks that are not free stay bound, so that the system gives others.
    let mut passed_over = Vec::new();
    let mut failed = None;
    for _ in 0..attempts {
        let (first, base) = bind(at(port))?;
        let mut block = vec![(first, base)];
        for number in 1..shards {
            // Beyond the last port there is none: the next attempt gets another beginning.
            let Some(next) = base.checked_add(number as u16) else {
                break;
            };
            match bind(at(next)) {
                Ok(socket) => block.push(socket),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if block.len() == shards {
            return Ok(block);
        }
        passed_over.extend(block.into_iter().next());
    }
    Err(failed.unwrap_or_else(|| taken(at(port), io::ErrorKind::AddrInUse.into())))
}

fn taken(address: SocketAddr, source: io::Error) -> StartError {
    StartError::Bind {
        protocol: Protocol::Udp,
        address,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlour_media::IngressLimit;
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    fn config(port: u16, shards: usize) -> EngineConfig {
        EngineConfig {
            bind: Ipv4Addr::LOCALHOST.into(),
            port,
            shards,
            max_transports: 1,
            ingress: IngressLimit::default(),
            adapts: true,
            segments: true,
            tcp: None,
        }
    }

    #[test]
    fn any_free_block_will_do_wherever_it_begins_and_one_at_the_end_is_passed_over() {
        let firsts = [65_535, 40_000, 40_100].map(Some);
        let next = Cell::new(0);
        // Of the second block the third port is taken.
        let bind = |address: SocketAddr| match address.port() {
            0 => {
                let port = firsts[next.replace(next.get() + 1)].unwrap();
                Ok(((), port))
            }
            40_002 => Err(taken(address, io::ErrorKind::AddrInUse.into())),
            port => Ok(((), port)),
        };
        let block = bind_block(&config(0, 3), bind).unwrap();
        let ports: Vec<u16> = block.into_iter().map(|(_, port)| port).collect();
        assert_eq!(ports, [40_100, 40_101, 40_102]);
    }

    #[test]
    fn where_a_block_is_named_the_port_that_is_taken_is_told_and_no_other_is_tried() {
        let bind = |address: SocketAddr| match address.port() {
            8083 => Err(taken(
                address,
                io::Error::from_raw_os_error(libc::EADDRINUSE),
            )),
            port => Ok(((), port)),
        };
        let error = bind_block(&config(8081, 4), bind).err().unwrap();
        assert!(error.to_string().contains("127.0.0.1:8083"), "{error}");
        let error = bind_block(&config(0, 2), |address| {
            Err::<((), u16), _>(taken(address, io::ErrorKind::AddrNotAvailable.into()))
        });
        assert!(error.is_err());
    }
}
