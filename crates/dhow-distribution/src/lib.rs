//! The registry's client: resolve, pull, push (OCI distribution specification 1.1, and Docker's registry
//! protocol, which it came from).
//!
//! A transfer leaves either a whole image or nothing, on both sides; what is there already is not
//! transferred; what breaks off is taken up again where it broke. Nothing is sent in the clear, and no
//! credentials to another host, unless an exception was configured.
//!
//! It must never know the engine.

mod auth;
mod blobs;
mod client;
mod config;
mod connect;
mod endpoint;
mod error;
mod manifests;
mod names;
mod patience;
mod progress;
mod pull;
mod push;
mod session;
mod tags;
mod tls;
#[doc(hidden)]
pub mod untrusted;

pub use auth::Auth;
pub use client::{Client, Inspection};
pub use config::{Config, Embedded, EmbeddedConnector, Proxies};
pub use error::{DistributionError, RegistryFailure};
pub use names::Names;
pub use progress::{Progress, ProgressEvent};
pub use pull::Pulled;
pub use push::Pushed;
