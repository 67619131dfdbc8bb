//! A client of the Engine API: unix sockets, TCP, TLS and ssh, hijacked streams, streams of JSON messages.
//!
//! It works with any daemon that speaks the API, not only this project's. It costs nothing that a call
//! does not need: no connection until the first call, no `/_ping` to learn the daemon's version (the
//! first answer's `Api-Version` header tells it), no TLS set-up for a unix socket.
//!
//! This crate must never know how answers are shown to people.

mod archives;
mod body;
mod call;
mod client;
mod command;
mod connect;
mod containers;
mod error;
mod execs;
mod frames;
mod hijack;
mod host;
mod images;
mod json_stream;
mod networks;
mod snapshots;
mod ssh;
mod system;
mod tls;
#[doc(hidden)]
pub mod untrusted;
mod volumes;

pub use body::BodyReader;
pub use call::{Body, Call};
pub use client::{Client, ClientConfig};
pub use containers::{AttachOptions, LogsOptions, WaitCondition, WaitHandle};
pub use error::Error;
pub use frames::{Frame, FrameReader, StreamKind};
pub use hijack::{HijackReader, HijackWriter, Hijacked};
pub use host::{Host, HostError};
pub use json_stream::JsonStream;
pub use snapshots::CommitOptions;
pub use ssh::SshHost;
pub use tls::TlsOptions;

pub type Result<T> = std::result::Result<T, Error>;
