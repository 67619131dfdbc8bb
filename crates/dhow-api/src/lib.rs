//! The Engine API's wire types and version rules, shared by the daemon and its clients.
//!
//! Types are named as in Docker's API reference and print as Docker's daemon prints them: null, an empty
//! list, an empty map and an absent field are four different things to somebody's client. On input every
//! field may be absent or null, and fields that are not known are ignored.
//!
//! This crate must never know state: nothing here does more than read, write and compare values.

mod auth;
mod container;
mod container_view;
pub mod duration;
mod event;
mod exec;
mod filters;
mod host_config;
mod image;
mod network;
mod path_stat;
pub mod read;
mod stats;
mod stream;
mod system;
pub mod time;
mod version;
mod volume;
mod wire;

pub use auth::{AuthConfig, AuthResponse};
pub use container::{
    ContainerConfig, ContainerCreateRequest, ContainerCreateResponse, HealthConfig,
};
pub use container_view::*;
pub use event::{Actor, Event};
pub use exec::*;
pub use filters::{FilterError, Filters};
pub use host_config::*;
pub use image::*;
pub use network::*;
pub use path_stat::*;
pub use stats::*;
pub use stream::{ErrorDetail, JsonMessage, ProgressDetail};
pub use system::*;
pub use version::{ApiVersion, VersionError};
pub use volume::*;
pub use wire::Empty;

/// Media types of streams.
pub mod media_type {
    /// Output of a process with a terminal, and of clients before 1.42.
    pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
    /// Output of a process without one: frames with an 8-byte header.
    pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
    pub const JSON: &str = "application/json";
    pub const JSON_LINES: &str = "application/jsonl";
    pub const NDJSON: &str = "application/x-ndjson";
    pub const JSON_SEQ: &str = "application/json-seq";
}
