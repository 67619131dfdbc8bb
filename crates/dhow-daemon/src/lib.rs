//! The daemon: the Engine API over HTTP, its sockets, TLS and configuration.
//!
//! A route is a few lines onto the engine. What a request means, and all state, is the engine's; what a
//! client of a given API version must be told, and in which form, is this crate's. It must never know the
//! kernel.

mod capacity;
mod coding;
pub mod config;
mod daemon;
mod disk_usage;
pub mod error;
pub mod flags;
pub mod framing;
mod hello;
pub mod hijack;
mod info;
pub mod json;
mod legacy;
mod link_names;
pub mod listen;
pub mod logging;
mod metrics;
mod notify;
mod outbox;
pub mod pidfile;
mod platforms;
mod progress;
pub mod query;
mod read_on;
pub mod relay;
mod reload;
mod rest;
pub mod routes;
pub mod server;
mod settings;
mod setup;
pub mod tls;
pub mod version;
mod websocket;

pub use config::Called;
pub use daemon::{DaemonError, SPAWNER, main};
pub use dhow_runtime::spawner_main;
