//! Which ports the shards have: one block of numbers, the first shard's the lowest, so that a firewall needs one rule.

use crate::engine::EngineConfig;
use crate::error::StartError;
use std::io;
use std::net::SocketAddr;

/// Blocks that are tried when any will do. The system gives another one each time.
const ATTEMPTS: usize = 64;

/// Bind a block of ports with `bind`, a port a shard, which says the port it got; all of them or none.
pub(crate) fn bind_block<S>(
    config: &EngineConfig,
    bind: impl Fn(SocketAddr) -> io::Result<(S, u16)>,
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
        let bound = bind(at(port));
        let (first, base) = bound.map_err(|source| StartError::Bind {
            address: at(port),
            source,
        })?;
        let mut block = vec![(first, base)];
        for number in 1..shards {
            // Beyond the last port there is none: the next attempt gets another beginning.
            let Some(next) = base.checked_add(number as u16) else {
                break;
            };
            match bind(at(next)) {
                Ok(socket) => block.push(socket),
                Err(source) => {
                    failed = Some((at(next), source));
                    break;
                }
            }
        }
        if block.len() == shards {
            return Ok(block);
        }
        passed_over.extend(block.into_iter().next());
    }
    let (address, source) = failed.unwrap_or((at(port), io::ErrorKind::AddrInUse.into()));
    Err(StartError::Bind { address, source })
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
            40_002 => Err(io::ErrorKind::AddrInUse.into()),
            port => Ok(((), port)),
        };
        let block = bind_block(&config(0, 3), bind).unwrap();
        let ports: Vec<u16> = block.into_iter().map(|(_, port)| port).collect();
        assert_eq!(ports, [40_100, 40_101, 40_102]);
    }

    #[test]
    fn where_a_block_is_named_the_port_that_is_taken_is_told_and_no_other_is_tried() {
        let bind = |address: SocketAddr| match address.port() {
            8083 => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            port => Ok(((), port)),
        };
        let error = bind_block(&config(8081, 4), bind).err().unwrap();
        assert!(error.to_string().contains("127.0.0.1:8083"), "{error}");
        let error = bind_block(&config(0, 2), |_| {
            Err::<((), u16), _>(io::ErrorKind::AddrNotAvailable.into())
        });
        assert!(error.is_err());
    }
}
