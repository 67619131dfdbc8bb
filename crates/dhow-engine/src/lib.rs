//! Containers, execs, volumes, events: the state machine between the API and the kernel.
//!
//! It decides what a container is (its definition, checked and merged with its image), turns that into an
//! OCI specification, and keeps each container's life in one state machine ([`state`]). Images, networks
//! and processes are the lower crates' business, and it is generic over none of them.
//!
//! Promises: what was acknowledged survives the daemon, killed at any instant; readers (list, inspect)
//! never wait for a slow container, and one container's slow operation never delays another's; start-up is
//! recovery, and running containers are taken over, not restarted.
//!
//! It must never know HTTP, netlink or mounts.

mod attach;
mod bind;
mod config;
mod container;
mod copy_up;
mod create;
mod definition;
pub mod detach;
mod engine;
mod error;
mod events;
mod exec;
mod exits;
mod health;
mod host;
mod id;
mod images;
mod info;
mod inspect;
mod list;
mod lock;
pub mod logs;
mod merge;
mod mount_points;
mod names;
mod networks;
mod pause;
mod ports;
mod prune;
mod recovery;
mod registry;
mod remove;
mod rename;
mod restart;
mod rootfs;
mod sandbox;
mod schema;
mod signal;
mod size;
mod spec;
mod start;
mod state;
mod stats;
mod stop;
mod top;
mod trash;
mod update;
mod user;
mod validate;
mod volumes;
mod wait;

pub use attach::{AttachOptions, AttachSession};
pub use config::{DnsConfig, EngineConfig, LogDefaults};
pub use detach::{DetachKeys, DetachScanner, Scanned};
pub use engine::Engine;
pub use error::{EngineError, Result};
pub use events::{EventBus, EventFilter, EventSubscription};
pub use info::EngineInfo;
pub use list::ListOptions;
pub use lock::DataRootLock;
pub use logs::{LogOptions, LogStream};
pub use recovery::RecoveryReport;
pub use remove::RemoveOptions;
pub use wait::WaitCondition;
