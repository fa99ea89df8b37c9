//! The Python module `parlour._media`.
use pyo3::prelude::*;

/// The module `parlour._media`.
#[pymodule]
mod _media {}
