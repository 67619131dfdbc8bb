//! References, digests, manifests, the content store, layers and their unpacked trees.
//!
//! It must never know containers, nor where a blob came from: the registry's client hands it streams.

pub mod digest;
pub mod manifest;
pub mod platform;
pub mod reference;

pub use digest::{Algorithm, Digest};
pub use manifest::{Descriptor, Document, ImageConfig, Index, Manifest, media_type};
pub use platform::Platform;
pub use reference::Reference;
