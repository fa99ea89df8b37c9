//! What a publisher sends: the order of its packets, their repair, what is kept of them, and what it is asked for.

pub(crate) mod cache;
pub(crate) mod demand;
mod descriptors;
pub(crate) mod keyframe_requests;
pub(crate) mod meter;
pub(crate) mod reception;
pub(crate) mod repair;
pub(crate) mod smoothness;
pub(crate) mod spec;
pub(crate) mod speech;
pub(crate) mod standing;
pub(crate) mod stream;
pub(crate) mod track;
