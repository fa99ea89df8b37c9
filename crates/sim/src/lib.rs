//! A router and its clients on a network that is all in memory: time is virtual, loss has a seed. For tests and
//! measurements; nothing that ships depends on it.
//!
//! [`Sim`] has peers that are str0m, an implementation of WebRTC that shares no packet code with the router; a
//! [`raw::RawPeer`] says exactly what a test wants. A [`World`] has many [`KeyedClient`]s on bad links
//! and judges all that the router does. A [`Flow`] over a [`Bottleneck`] is what an estimate does to a path, without a
//! router.

mod bottleneck;
mod camera;
mod client;
mod flow;
pub mod ledger;
mod network;
mod publisher;
pub mod raw;
pub mod sink;
mod subscription;
mod world;

pub use bottleneck::{Arrival, Bottleneck, Conditions};
pub use camera::{Camera, vp8};
pub use client::{Header, KeyedClient, packet};
pub use flow::{Flow, Run};
pub use network::{
    AUDIO_PT, Filter, Hop, MID_EXTENSION, Peer, STEP, Sim, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT,
    password, ufrag,
};
pub use world::World;
