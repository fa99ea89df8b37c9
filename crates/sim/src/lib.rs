//! A router and its clients on a network that is all in memory: time is virtual, loss has a seed. For tests and
//! measurements; nothing that ships depends on it.
//!
//! [`Sim`] has peers that are str0m, an implementation of WebRTC that shares no packet code with the router; a
//! [`raw::RawPeer`] says exactly what a test wants.

mod camera;
pub mod ledger;
mod network;
pub mod raw;
pub mod sink;

pub use camera::{Camera, vp8};
pub use network::{
    AUDIO_PT, Filter, Hop, MID_EXTENSION, Peer, STEP, Sim, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT,
    password, ufrag,
};
