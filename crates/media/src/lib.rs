//! The media core of Parlour: a selective forwarding unit as a state machine.
//!
//! Bytes and the clock go in, bytes and events come out: there are no sockets, no threads and no
//! clock in this crate. One [`Router`] is the whole state of one shard.

mod budget;
mod bytes;
pub mod cache;
mod checks;
pub mod command;
mod commands;
mod consumer;
mod control;
mod demux;
pub mod dtls;
mod dtls_flight;
mod dtls_records;
pub mod event;
mod forward;
pub mod handshakes;
pub mod ice;
pub mod ids;
pub mod keyframe;
pub mod keyframe_requests;
pub mod num;
mod outgoing;
pub mod path;
mod policer;
mod producer;
mod reception;
mod remb;
mod removal;
mod rewrite;
pub mod router;
pub mod rtcp;
pub mod rtp;
pub mod sink;
mod slab;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod transport;
pub mod twcc;
mod verification;

#[cfg(test)]
extern crate self as parlour_media;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
#[cfg(test)]
mod isolation_tests;

pub use command::{Command, ConsumerSpec, Kind, ProducerSpec};
pub use dimpl::DtlsCertificate;
pub use event::{CloseReason, Event, RefuseReason};
pub use ids::{ConsumerId, ProducerId, TransportId};
pub use keyframe::Codec;
pub use num::{PayloadType, Ssrc};
pub use path::Path;
pub use policer::IngressLimit;
pub use router::{Router, RouterConfig};
pub use sink::{TransmitSink, VecSink};
pub use srtp::SrtpProfile;
pub use stats::{DropReason, Snapshot};
