//! The Python module `parlour._media`: the binding, nothing else.

mod client;
mod engine;

use pyo3::prelude::*;

/// The Rust core: the server's media shards and the client's transport.
#[pymodule(gil_used = false)]
mod _media {
    #[pymodule_export]
    use super::client::ClientTransport;
    #[pymodule_export]
    use super::engine::{MediaEngine, interface_addresses};
}
