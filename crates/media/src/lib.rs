//! The media core of Parlour: a selective forwarding unit as a state machine.
//!
//! Bytes and the clock go in, bytes and events come out: there are no sockets, no threads and no
//! clock in this crate. One [`Router`] is the whole state of one shard.
//!
//! The rooms, from the ground up; each imports from those above it in this list only (`docs/architecture.md`):
//! `wire` has the formats, `congestion` what a path carries, `allocation` who gets how much of it, `transport` one peer's
//! path and keys, `ingress` what a publisher sends, `egress` what a subscriber gets, `router` who gets what.

// Driven by a fuzzer as they are: through a router it would reach of their inputs what an estimate makes of its bytes.
#[doc(hidden)]
pub mod allocation;
pub mod congestion;
mod egress;
mod ids;
mod ingress;
mod reasons;
pub mod router;
mod slab;
mod transport;
mod wire;

pub use dimpl::DtlsCertificate;
pub use egress::spec::{ConsumerSpec, MAX_SOURCES};
pub use ids::{ConsumerId, ProducerId, TransportId};
pub use ingress::spec::ProducerSpec;
pub use ingress::speech::Level;
pub use reasons::{CloseReason, ConnectionEnd, DropReason, Drops, RefuseReason, Shortfall};
pub use router::command::Command;
pub use router::counters::{
    BandwidthStats, ConsumerStats, Copied, ProducerStats, SmoothnessStats, Snapshot, TransportStats,
};
pub use router::event::Event;
pub use router::latency::{LATENCY_BOUNDS, Latency};
pub use router::{Router, RouterConfig};
pub use transport::backlog::MOST_WAITING;
#[doc(hidden)]
pub use transport::pacer;
pub use transport::path::{Path, Protocol};
pub use transport::policer::IngressLimit;
pub use transport::sink::{TransmitSink, VecSink};
pub use transport::srtp::SrtpProfile;
pub use transport::{dtls, srtp};
pub use wire::codecs::{Codec, Kind};
pub use wire::num::{PayloadType, Ssrc};
pub use wire::{codecs, dependency_descriptor, framing, num, red, rtcp, rtp, stun, twcc, vp8, vp9};
