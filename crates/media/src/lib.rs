//! The media core of Parlour: a selective forwarding unit as a state machine.
//!
//! Bytes and the clock go in, bytes and events come out: there are no sockets, no threads and no
//! clock in this crate. One [`Router`] is the whole state of one shard.

mod bytes;
pub mod cache;
pub mod command;
mod early;
pub mod event;
pub mod ids;
pub mod keyframe;
pub mod num;
pub mod router;
pub mod rtcp;
pub mod rtp;
pub mod sink;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod twcc;

pub use command::{Command, ConsumerSpec, Kind, ProducerSpec};
pub use dimpl::DtlsCertificate;
pub use early::{Codec, PayloadType, SrtpProfile, Ssrc};
pub use event::{CloseReason, Event, RefuseReason};
pub use ids::{ConsumerId, ProducerId, TransportId};
pub use router::{Router, RouterConfig};
pub use sink::{TransmitSink, VecSink};
pub use stats::{DropReason, Snapshot};
