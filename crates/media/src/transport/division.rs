//! What is kept of the last division of a path.

use std::time::Instant;

/// How a path was divided last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Divided {
    pub(crate) at: Option<Instant>,
    /// Bits a second that all of it needs which is given out.
    pub(crate) given: u64,
    /// Bits a second that there were for pictures.
    pub(crate) available: u64,
    /// Whether anybody lacks something.
    pub(crate) lacks: bool,
}
