//! A registry: the server side of the OCI distribution specification 1.1, which is also what Docker's
//! registry protocol became. It pulls, pushes, lists and deletes blobs, manifests and tags.
//!
//! [`Registry`] is the service: a request in, a response out, over any body type, so that it serves a TCP
//! connection, a TLS one or an in-process pipe alike. It sits on a [`Storage`]: [`FilesystemStorage`] keeps
//! a registry in a directory, [`MemoryStorage`] holds a few images that are part of the program.
//!
//! Invariants: no blob is ever held in memory; a digest that a client names is checked against the bytes
//! that it sent before anything becomes visible; an answer of success means that the content survives a
//! power loss; a repository gives out only what was pushed or mounted into it.
//!
//! It must never know the engine, nor how images are unpacked or run.

mod blobs;
mod body;
mod error;
mod listing;
mod manifest;
mod manifests;
mod name;
mod query;
mod range;
mod route;
mod serve;
mod server;
mod service;
mod storage;
mod tls;
mod uploads;

pub use body::Body;
pub use error::RegistryError;
pub use manifest::ManifestKind;
pub use name::{RepositoryName, Tag, TagOrDigest};
pub use serve::{ServeArgs, ServeError, serve};
pub use server::{Server, ServerConfig, serve_connection};
pub use service::{Registry, RegistryConfig};
pub use storage::filesystem::{FilesystemLimits, FilesystemStorage, Recovered};
pub use storage::memory::{MemoryContent, MemoryStorage};
pub use storage::{BlobStream, ManifestRecord, Storage, StorageError};
