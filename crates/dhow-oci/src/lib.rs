//! The words that registries, images and the engine share: digests, references, platforms, media types,
//! and the documents that describe an image (OCI image specification 1.1, Docker's schema 2).
//!
//! Each is parsed once, at the edge, into a type that is well formed from then on. Everything here is data:
//! it must never know files, sockets, stores or tasks, nor who keeps or serves what it describes.

pub mod digest;
pub mod manifest;
pub mod platform;
pub mod reference;

pub use digest::{Algorithm, Digest};
pub use manifest::{
    DOCUMENT_MAX, Descriptor, Document, DocumentError, Healthcheck, History, ImageConfig, Index,
    Manifest, RootFs, RunConfig, chain_ids, media_type,
};
pub use platform::Platform;
pub use reference::Reference;
