//! The words that registries, images and the engine share: digests, references, platforms, media types,
//! and the documents that describe an image (OCI image specification 1.1, Docker's schema 2).
//!
//! Each is parsed once, at the edge, into a type that is well formed from then on. Everything here is data:
//! it must never know files, sockets, stores or tasks, nor who keeps or serves what it describes.

mod absent;
mod config;
mod descriptor;
pub mod digest;
mod document;
mod index;
mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
mod run_config;

pub use config::{History, ImageConfig, RootFs, chain_ids};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest};
pub use document::{DOCUMENT_MAX, Document, DocumentError};
pub use index::Index;
pub use manifest::Manifest;
pub use platform::Platform;
pub use reference::Reference;
pub use run_config::{Healthcheck, RunConfig};
