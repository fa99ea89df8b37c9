//! The formats on the wire, a file each: bytes to values and back, without state and without a clock.

pub(crate) mod bytes;
pub mod codecs;
pub mod dependency_descriptor;
pub(crate) mod extensions;
pub mod framing;
pub mod layers;
pub mod num;
pub mod red;
pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod twcc;
pub mod vp8;
pub mod vp9;
pub mod xr;
