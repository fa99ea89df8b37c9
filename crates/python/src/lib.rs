//! The Python module `parlour._media`.
use pyo3::prelude::*;

mod client;

/// The module `parlour._media`.
#[pymodule]
mod _media {
    #[pymodule_export]
    use super::client::ClientTransport;
}
