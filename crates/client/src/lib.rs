//! The client's side of a call: str0m as the transport of the Python SDK and of the robot.
//!
//! [`Peer`] is one peer connection without sockets or clock: SDP, datagrams and frames go in with the time they
//! happened at, datagrams and events come out. [`Transport`] gives a [`Peer`] its UDP sockets and a thread.
//! Media crosses this interface as whole encoded frames; RTP stays inside.

mod codec;
mod event;
mod peer;
mod transport;

pub use codec::Codec;
pub use event::{CloseReason, Event, Frame, IceState, Kind};
pub use peer::{Error, Offer, OutgoingFrame, Peer, PeerConfig, Transmit};
pub use str0m::media::Mid;
pub use transport::{Transport, TransportConfig, TransportStats};
