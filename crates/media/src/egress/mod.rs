//! What a subscriber gets: which packets, under which numbers, and which of them again.

pub(crate) mod consumer;
pub(crate) mod copies;
pub(crate) mod frames;
mod history;
pub(crate) mod pictures;
pub(crate) mod rewrite;
pub(crate) mod sources;
pub(crate) mod spec;
pub(crate) mod temporal;
