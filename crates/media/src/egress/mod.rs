//! What a subscriber gets: which packets, under which numbers, and which of them again.

pub(crate) mod consumer;
pub(crate) mod rewrite;
pub(crate) mod spec;
