//! The Python module `parlour._media`: the binding, nothing else.

mod client;
mod conversions;
mod engine;
mod load;

use pyo3::prelude::*;

/// The Rust core: the server's media shards, the client's transport, and the tools that measure.
#[pymodule(gil_used = false)]
mod _media {
    #[pymodule_export]
    use super::client::ClientTransport;
    #[pymodule_export]
    use super::engine::{MediaEngine, interface_addresses};
    #[pymodule_export]
    use super::load::{LoadGenerator, LoadPattern, NullReflector};
}
