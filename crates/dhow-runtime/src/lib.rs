//! Spawner, shim and init: an OCI runtime specification in, a process out.
//!
//! The spawner is forked from the daemon before any thread exists and forks one shim a container, without
//! exec. A shim is the parent of its container's init, owns its terminal or pipes, its log and its exit
//! status, and outlives the daemon; a later daemon reconnects to it over the socket it keeps in the
//! exec-root. This crate must never know images, networks or the Engine API: it is told a rootfs, a network
//! namespace and a specification.

pub mod apparmor;
pub mod capabilities;
pub mod cgroup;
pub mod client;
pub mod filesystem;
mod hooks;
mod init;
pub mod logfile;
pub mod memory;
mod mountinfo;
mod packet;
pub mod protocol;
pub mod record;
pub mod seccomp;
mod shim;
mod spawner;
mod sys;
mod title;
pub mod view;

pub use client::{Handed, Reach, Shim, Spawner, SpawnerProcess, end_shim, fork_spawner, reach};
pub use protocol::{
    AttachStreams, ExecRequest, ExitRecord, LogFile, LogFormat, LogServer, LogSink, Rootfs,
    StartError, StartRequest, Started, Target,
};
pub use record::read_exit_record;
pub use spawner::main as spawner_main;
pub use view::{View, ViewError};
