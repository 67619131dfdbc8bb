//! Images as they are kept: the content store, layers and their unpacked trees, and the records of both.
//!
//! It must never know containers, nor where a blob came from: the registry's client hands it streams.

mod archive;
mod blob;
mod catalog;
pub mod changes;
mod child;
mod chunks;
pub mod compression;
pub mod error;
mod family;
mod images;
mod import;
mod ingest;
mod init_layer;
mod layer_blob;
mod layer_source;
mod layer_stream;
mod layered;
mod load;
mod pin;
mod records;
mod remove;
mod resolve;
mod schema;
mod settle;
mod snapshot;
mod unpack;
mod words;
mod writeback;

pub use archive::{Archive, ArchiveSink, ArchivedImage, Saving};
pub use catalog::{Image, Layer};
pub use child::ChildOptions;
pub use chunks::Sink;
pub use error::ImageError;
pub use family::{Entry, EntryKind};
pub use images::{Images, Options, Recovered};
pub use import::ImportOptions;
pub use ingest::{Committed, Ingest};
pub use init_layer::Place;
pub use layer_stream::{LayerSink, LayerSpec, NewLayer};
pub use layered::{LayeredRoot, Node, entries};
pub use pin::Pin;
pub use remove::{ImageUser, Removed};
pub use snapshot::{Change, ChangeKind, Snapshot};
pub use unpack::Limits;
