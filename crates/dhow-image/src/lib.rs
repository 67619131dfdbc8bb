//! References, digests, manifests, the content store, layers and their unpacked trees.
//!
//! It must never know containers, nor where a blob came from: the registry's client hands it streams.

mod blob;
mod catalog;
mod changes;
pub mod compression;
pub mod digest;
pub mod error;
mod images;
mod import;
mod ingest;
mod layer_blob;
mod layer_stream;
mod load;
pub mod manifest;
mod pin;
pub mod platform;
pub mod reference;
mod remove;
mod resolve;
mod schema;
mod settle;
mod unpack;
mod writeback;

pub use catalog::{Image, Layer};
pub use digest::{Algorithm, Digest};
pub use error::ImageError;
pub use images::{Images, Options, Recovered};
pub use import::ImportOptions;
pub use ingest::{Committed, DOCUMENT_MAX, Ingest};
pub use layer_stream::{LayerSink, LayerSpec, NewLayer};
pub use manifest::{Descriptor, Document, ImageConfig, Index, Manifest, media_type};
pub use pin::Pin;
pub use platform::Platform;
pub use reference::Reference;
pub use remove::{ImageUser, Removed};
pub use unpack::Limits;
