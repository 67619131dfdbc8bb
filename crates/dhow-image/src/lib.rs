//! References, digests, manifests, the content store, layers and their unpacked trees.
//!
//! It must never know containers, nor where a blob came from: the registry's client hands it streams.

pub mod digest;

pub use digest::{Algorithm, Digest};
