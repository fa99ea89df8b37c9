//! What an engine refuses, as sentences.

use parlour_media::{ConsumerId, ProducerId, Protocol, TransportId};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// The settings contradict themselves.
    Invalid(String),
    /// A port could not be bound.
    Bind {
        /// Of which protocol.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread, file descriptor or random number, or no certificate came out.
    System {
        /// What was to be made.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Invalid(sentence) => f.write_str(sentence),
            StartError::Bind {
                protocol,
                address,
                source,
            } => {
                let name = match protocol {
                    Protocol::Udp => "UDP",
                    Protocol::Tcp => "TCP",
                };
                let remedy = match (source.raw_os_error(), protocol) {
                    (Some(libc::EADDRINUSE), Protocol::Udp) => {
                        "another process has it; choose another media port"
                    }
                    (Some(libc::EADDRINUSE), Protocol::Tcp) => {
                        "something else has it; choose another media port, or do without media over TCP"
                    }
                    (Some(libc::EADDRNOTAVAIL), _) => {
                        "no interface of this machine has that address"
                    }
                    (Some(libc::EACCES), _) => "ports below 1024 need a privilege",
                    _ => return write!(f, "cannot bind {name} {address} for media: {source}"),
                };
                write!(f, "cannot bind {name} {address} for media: {remedy}")
            }
            StartError::System { what, source } => write!(f, "cannot make {what}: {source}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a command was not even passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no such shard.
    NoSuchShard {
        /// The one asked for.
        shard: usize,
        /// How many there are.
        shards: usize,
    },
    /// There is no such transport, or it has closed.
    UnknownTransport(TransportId),
    /// There is no such producer, or its transport has closed.
    UnknownProducer(ProducerId),
    /// There is no such consumer, or its transport or producer is gone.
    UnknownConsumer(ConsumerId),
    /// The id names something that exists.
    DuplicateId(u64),
    /// A track cannot cross shards yet.
    OtherShard {
        /// What was to be forwarded.
        producer: ProducerId,
        /// To whom.
        transport: TransportId,
    },
    /// The shard has not taken what was sent before.
    RingFull {
        /// Which.
        shard: usize,
        /// How many commands wait.
        waiting: usize,
    },
    /// The shard has as many transports as it may.
    ShardFull {
        /// Which.
        shard: usize,
        /// How many it has.
        transports: usize,
    },
    /// The shard ended by itself and was not started again yet.
    ShardDied {
        /// Which.
        shard: usize,
    },
    /// So many events wait to be fetched.
    EventsWait(usize),
    /// The engine was closed.
    Closed,
    /// This process is a fork of the one that has the threads.
    OtherProcess,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::NoSuchShard { shard, shards } => {
                write!(f, "there is no shard {shard}: the engine has {shards}, from 0 up")
            }
            CommandError::UnknownTransport(id) => write!(f, "there is no transport {id}"),
            CommandError::UnknownProducer(id) => write!(f, "there is no producer {id}"),
            CommandError::UnknownConsumer(id) => write!(f, "there is no consumer {id}"),
            CommandError::DuplicateId(id) => write!(f, "the id {id} is in use"),
            CommandError::OtherShard {
                producer,
                transport,
            } => write!(
                f,
                "producer {producer} and transport {transport} are on different shards; put the members of a room on one"
            ),
            CommandError::RingFull { shard, waiting } => {
                write!(f, "{waiting} commands wait for shard {shard}; try again in a moment")
            }
            CommandError::ShardFull { shard, transports } => {
                write!(f, "shard {shard} has {transports} transports and takes no more; start more shards")
            }
            CommandError::ShardDied { shard } => {
                write!(f, "shard {shard} has died and is being started again; try again in a moment")
            }
            CommandError::EventsWait(waiting) => {
                write!(f, "{waiting} events wait; fetch them before asking for more")
            }
            CommandError::Closed => f.write_str("the media engine is closed"),
            CommandError::OtherProcess => f.write_str(
                "the media engine belongs to the process that made it; make one in this process after the fork",
            ),
        }
    }
}

impl std::error::Error for CommandError {}

/// Why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// A shard did not answer in time.
    Timeout {
        /// Which.
        shard: usize,
        /// How long it had.
        timeout: Duration,
    },
    /// It could not be asked.
    Refused(CommandError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Timeout { shard, timeout } => write!(
                f,
                "shard {shard} gave no snapshot within {} s",
                timeout.as_secs_f64()
            ),
            SnapshotError::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {}
