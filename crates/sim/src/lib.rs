//! A router and its clients on a network that is all in memory: time is virtual, loss has a seed. For tests and
//! measurements; nothing that ships depends on it.
//!
//! Three sorts of clients, from the most honest to the cheapest:
//!
//! - [`Sim`] has peers that are str0m, an implementation of WebRTC that shares no packet code with the router;
//! - a [`raw::RawPeer`] shakes hands by dimpl and says exactly what a test wants;
//! - a [`KeyedClient`] has its keys injected, so that a call of an hour takes seconds. Its ICE is real.
//!
//! A [`Flow`] over a [`Bottleneck`] is what an estimate does to a path, without a router.
//!
//! # Simulations
//!
//! A [`World`] is many keyed clients on links that lose, delay, double and reorder. People, tracks and subscriptions come
//! and go, subscriptions pause, publishers go on under another SSRC or with other numbers, addresses change: all of it
//! drawn from a seed. After every datagram the world judges what the router did, by sets and not by tolerances; what
//! breaks a rule is a panic that names it.
//!
//! | rule | judged by |
//! |---|---|
//! | no SRTP or SRTCP index is sealed twice, whatever the router's own guard says | [`ledger`] |
//! | each packet is taken in, or dropped for the one reason that applies | `arrivals` |
//! | each packet taken in goes to each subscriber or is dropped for it with the one reason that applies; to nobody else | `subscription`, `world/decisions` |
//! | a subscriber's numbers have no gap and no step back, nor have those of its pictures; time goes on, markers and payloads are the published ones | `subscription` |
//! | a subscription gets the source that is due, and goes over where a keyframe of it begins and no frame is cut; it is told | `world/decisions` |
//! | sound never waits and goes before pictures; pictures wait, and are left out, only for a path that is known, and no longer than they may | `world/decisions` |
//! | pictures leave no faster than what the path is taken to carry allows, over any time | `world/pace` |
//! | publishers are asked for what is missing and for nothing else, and for a keyframe behind a hole for good; subscribers are told when what they get was captured | `world/said` |
//! | what was published is the sum of what was sent, dropped and lost; what was sent, of what arrived and was lost | `world/sum` |
//! | on links without loss everybody gets everything, whatever happened before | `world/sum` |
//! | who left gets nothing, is nobody, and its transport is told to be closed, once | `world/judge`, `world` |
//! | memory is bounded while a call runs, and to the byte that of a new router when nobody is there | [`memory`], `world/memory_bound` |
//! | the same seed is the same run, to the last datagram | [`Outcome::digest`] |
//!
//! What is not judged: the contents of receiver reports, and whether a repair that was asked for had to be given: a refusal has
//! a name and is counted, and simulations in which nothing is repaired fail.
//!
//! What the router decides by what it measures (when a picture may leave, and in which size) it tells, and the model
//! follows: that it may be decided so is judged, that it is wise is not.
//!
//! The models (`arrivals`, `subscription`) are the rules a second time, with sets that forget nothing in place of windows
//! and rings; they share no code with the router. `make soak SEEDS=1000` runs [`sweep`]; each seed that fails is told
//! with the command that repeats it.

mod arrivals;
mod bottleneck;
mod camera;
mod client;
mod flow;
mod layered;
pub mod ledger;
pub mod memory;
mod network;
mod publisher;
pub mod raw;
mod roles;
pub mod sink;
mod subscription;
pub mod sweep;
mod world;

pub use bottleneck::{Arrival, Bottleneck, Conditions};
pub use camera::{Camera, vp8};
pub use client::{Header, KeyedClient, keyed_router, packet};
pub use flow::{Flow, Run};
pub use network::{
    AUDIO_PT, Filter, Hop, MID_EXTENSION, Peer, STEP, Sim, TWCC_EXTENSION, VIDEO_PT, VIDEO_RTX_PT,
    password, ufrag,
};
pub use world::{Outcome, Scenario, World};
