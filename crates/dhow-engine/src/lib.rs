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

mod background;
mod config;
mod containers;
mod engine;
mod error;
mod events;
mod execs;
mod files;
mod host;
mod id;
mod images;
mod info;
mod names;
mod networks;
mod recovery;
mod storage;
mod streams;
mod supervisor;
mod until;
mod volumes;

pub use config::{ContainerDefaults, DefaultOptions, DnsConfig, EngineConfig, LogDefaults};
pub use containers::Containers;
pub use containers::check_seccomp_profile;
pub use containers::list::ListOptions;
pub use containers::logging;
pub use containers::remove::RemoveOptions;
pub use containers::wait::WaitCondition;
pub use engine::Engine;
pub use error::{EngineError, Result};
pub use events::{EventBus, EventFilter, EventSubscription};
pub use execs::Execs;
pub use files::{Archive, ExtractOptions, Files, Part};
pub use host::cdi::{DEFAULT_DIRS as DEVICE_DIRS, Devices};
pub use images::{CommitRequest, ImageInspectOptions, ImageListOptions, Images, Loading};
pub use info::EngineInfo;
pub use networks::Networks;
pub use recovery::RecoveryReport;
pub use storage::DataRootLock;
pub use streams::Streams;
pub use streams::attach::{AttachOptions, AttachSession};
pub use streams::detach::{self, DetachKeys, DetachScanner, Scanned};
pub use streams::logs::{self, LogOptions, LogStream};
pub use volumes::Volumes;
