//! What the daemon, the spawner and the shims say to each other: JSON messages, one a datagram of a
//! SOCK_SEQPACKET socket, file descriptors beside them as SCM_RIGHTS. Every first message carries
//! [`VERSION`]; a newer daemon speaks the older versions of shims that it finds running.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The protocol's version.
pub const VERSION: u32 = 1;

/// Everything a shim needs to start a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartRequest {
    /// The container's id, 64 hexadecimal digits.
    pub id: String,
    /// The container's directory under the data-root: the exit record is written here.
    pub bundle: PathBuf,
    /// Where the shim's socket and pid file go, under the exec-root: `<runtime_dir>/<id>.sock`.
    pub runtime_dir: PathBuf,
    /// The OCI runtime specification. `linux.namespaces` lists which to make; a network namespace comes as
    /// a file descriptor, see [`StartRequest::has_netns`].
    pub spec: oci_spec::runtime::Spec,
    pub rootfs: Rootfs,
    /// Whether a network namespace's descriptor accompanies this message.
    pub has_netns: bool,
    /// Whether standard input stays open for clients to attach to (Docker's `OpenStdin`).
    pub open_stdin: bool,
    /// Whether the first attached client's end closes standard input (Docker's `StdinOnce`).
    pub stdin_once: bool,
    pub log: LogSink,
    /// Clients attached before the start; one stream descriptor each, in order, accompanies the message.
    pub attach: Vec<AttachStreams>,
    /// Port-holding sockets to keep open as long as the container runs, after the attach streams.
    pub held_fds: usize,
    /// An init process of the runtime's own reaps orphans and forwards signals (Docker's `--init`).
    pub init: bool,
    /// Whether the exit record must survive power loss; not for a container that is removed on exit.
    pub sync_exit: bool,
    /// The terminal's first size.
    pub tty_size: Option<(u16, u16)>,
}

/// The root filesystem, mounted in the container's own mount namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay: the image's unpacked layers, topmost first, under the container's upper directory.
    Overlay {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum LogSink {
    None,
    /// Docker's json-file format.
    JsonFile {
        path: PathBuf,
        /// Rotation size in bytes; `None` never rotates.
        max_size: Option<u64>,
        /// How many files to keep, at least 1.
        max_file: u32,
    },
}

/// Which streams a client attaches to. Without a terminal, output is framed with Docker's 8-byte stream
/// headers (Engine API, "Stream format"); with one it is raw.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct AttachStreams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The exit code; 128 + n for a process ended by signal n.
    pub code: i32,
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub started_at: i64,
    pub finished_at: i64,
}

/// Why a container's process did not start, sorted as Docker's exit codes are.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum StartError {
    /// The command was not found: exit code 127.
    #[error("{0}")]
    NotFound(String),
    /// The command can't be executed: exit code 126.
    #[error("{0}")]
    NotExecutable(String),
    /// Anything else, such as a mount that failed: exit code 128, and 125 from the client.
    #[error("{0}")]
    Other(String),
}

/// A further process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The exec's id, 64 hexadecimal digits.
    pub exec_id: String,
    pub process: oci_spec::runtime::Process,
    pub open_stdin: bool,
    /// A client attached from the start; its stream descriptor accompanies the message.
    pub attach: Option<AttachStreams>,
    pub tty_size: Option<(u16, u16)>,
}
