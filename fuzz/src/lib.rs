//! What is fuzzed. The functions of `targets` are also run over the seeds by the ordinary tests of `parlour-media`,
//! which include that file.

pub mod targets;
