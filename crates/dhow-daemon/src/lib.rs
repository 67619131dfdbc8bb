//! The daemon: the Engine API over HTTP, its sockets, TLS and configuration.
//!
//! A route is a few lines onto the engine. What a request means, and all state, is the engine's; what a
//! client of a given API version must be told, and in which form, is this crate's. It must never know the
//! kernel.

pub mod config;
pub mod error;
pub mod flags;
pub mod hijack;
pub mod json;
pub mod listen;
pub mod logging;
pub mod pidfile;
pub mod query;
pub mod server;
pub mod tls;
pub mod version;
