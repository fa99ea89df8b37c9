//! The threads, sockets and rings around the media core.
//!
//! A shard is one thread with one UDP socket, a TCP listener on the same port and one [`parlour_media::Router`]; nothing is shared
//! between shards, so that what floods or stops one leaves the others alone. An [`Engine`] starts the shards, takes commands from any thread and gives events
//! back through one bounded ring with one file descriptor to wait on.

mod address;
mod arena;
mod arrivals;
mod control;
mod directory;
mod engine;
mod error;
mod events;
mod interfaces;
mod lives;
mod numbers;
mod outlet;
mod ports;
mod receive;
mod shard;
pub mod socket;
mod stats;
mod tcp;
mod transmit;

#[cfg(test)]
mod own_network;

pub use engine::{COMMAND_RING, Engine, EngineConfig};
pub use error::{CommandError, SnapshotError, StartError};
pub use events::EVENT_BACKLOG;
pub use interfaces::{InterfaceAddress, interface_addresses};
pub use numbers::{Numbers, ROWS, Tally};
pub use stats::EngineSnapshot;
pub use tcp::TcpLimits;
