//! What the daemon, the spawner and the shims say to each other: JSON messages, one a datagram of a
//! SOCK_SEQPACKET socket, file descriptors beside them as SCM_RIGHTS. Every first message carries
//! [`VERSION`]; a newer daemon speaks the older versions of shims that it finds running.

mod log;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use self::log::{
    Host, LogAddress, LogDialect, LogFile, LogFormat, LogServer, LogSink, SyslogFormat, TlsFiles,
};
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
    /// The OCI runtime specification. `linux.namespaces` lists which to make; those of others come as file
    /// descriptors, see [`StartRequest::has_netns`] and [`StartRequest::joined`].
    pub spec: oci_spec::runtime::Spec,
    pub rootfs: Rootfs,
    /// Whether a network namespace's descriptor accompanies this message.
    pub has_netns: bool,
    /// What is shared with other containers; a pidfd of each one's process accompanies the message, after the
    /// network namespace. A number would be another process's by the time that it is looked at.
    #[serde(default)]
    pub joined: Vec<Joined>,
    /// Whether standard input stays open for clients to attach to (Docker's `OpenStdin`).
    pub open_stdin: bool,
    /// Whether the first attached client's end closes standard input (Docker's `StdinOnce`).
    pub stdin_once: bool,
    pub log: LogSink,
    /// Clients attached before the start; one stream descriptor each, in order, accompanies the message.
    pub attach: Vec<AttachStreams>,
    /// Sockets to keep open as long as the container runs, after the attach streams: those that hold ports, and others that a
    /// later daemon is to have.
    pub held_fds: usize,
    /// An init process of the runtime's own reaps orphans and forwards signals (Docker's `--init`).
    pub init: bool,
    /// Whether the exit record must survive power loss; not for a container that is removed on exit.
    pub sync_exit: bool,
    /// The terminal's first size.
    pub tty_size: Option<(u16, u16)>,
}

/// What a container shares with another one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Joined {
    Pid,
    /// The namespace, and what is mounted at /dev/shm for a mount of the type `x-dhow.shm`.
    Ipc,
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
    /// What was asked for, or the image, is such that it can't be, as a file mounted on a directory: exit
    /// code 127. Of a container's start only: shims before this one don't say so.
    #[error("{0}")]
    Invalid(String),
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

/// A process that has been exec'ed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// In the daemon's process id namespace.
    pub pid: u32,
    /// Nanoseconds since the epoch.
    pub started_at: i64,
    /// How long each phase of the start took, in order, in nanoseconds; empty unless it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<(String, u64)>,
    /// The process that answers for it, its shim; 0 where an older one has not told.
    #[serde(default)]
    pub shim_pid: u32,
    /// What could not be done as asked but does not stop the container, in sentences for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One of a container's processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// The container's own process.
    Init,
    /// An exec, by its id.
    Exec(String),
}

/// What the daemon asks of a shim; each gets one [`Reply`], or a [`Failure`], with the same number.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub number: u64,
    pub command: Command,
}

/// A [`Request`] as it is sent.
#[derive(Serialize)]
pub(crate) struct Asked<'a> {
    pub number: u64,
    pub command: &'a Command,
}

/// What every request has, also one with a command that is not known here.
#[derive(Debug, Deserialize)]
pub(crate) struct Numbered {
    pub number: u64,
}

impl Request {
    /// Reads a request. A newer daemon may ask what this shim can't do: that has a number to answer to.
    pub fn parse(json: &[u8]) -> Result<Request, NotUnderstood> {
        serde_json::from_slice(json).map_err(|_| match serde_json::from_slice(json) {
            Ok(Numbered { number }) => NotUnderstood::Command { number },
            Err(_) => NotUnderstood::Nothing,
        })
    }
}

/// What a request that is not understood was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotUnderstood {
    /// A request, of something that is not known here; it is answered with ENOSYS.
    Command { number: u64 },
    /// No request: a peer of another making.
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// The first message over a socket that was connected to.
    Hello {
        version: u32,
    },
    /// The first message to a shim that has just been forked. The seccomp program comes as the packet's
    /// binary part, compiled, and is missing from the specification.
    Start {
        version: u32,
        request: Box<StartRequest>,
        trace: bool,
    },
    Attach {
        target: Target,
        streams: AttachStreams,
    },
    Exec(Box<ExecRequest>),
    Signal {
        target: Target,
        signal: i32,
    },
    Resize {
        target: Target,
        rows: u16,
        cols: u16,
    },
    CloseStdin {
        target: Target,
    },
    /// Takes away what the container has logged. Shims before this one don't know it.
    ClearLog,
    /// What accompanies the message is kept open from now on in place of what was. Shims before this one don't know it.
    Hold,
    /// Asks for duplicates of what is kept open. Shims before this one don't know it.
    Held,
    /// What the name of the log's server means now. Shims before this one don't know it.
    LogAddresses {
        addresses: Vec<SocketAddr>,
    },
    Release,
}

/// What a shim says: answers to requests, and what happens as it does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    Reply {
        number: u64,
        result: Result<Reply, Failure>,
    },
    Exited {
        target: Target,
        record: ExitRecord,
    },
    /// The container has run out of memory. Shims before this one don't tell, and daemons before this one
    /// pass over it.
    OutOfMemory,
    /// The log's server is away, and may be at another address when it is looked for again. As with the last one.
    LogServerAway,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    /// Accompanied by the descriptors.
    Held,
    Started(Started),
    Welcome {
        version: u32,
        started: Option<Started>,
        /// The processes that have ended and whose end has not been released.
        exited: Vec<(Target, ExitRecord)>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Start(StartError),
    /// An operating system error number; ENOSYS for a command that the shim does not know.
    Os(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_known_has_a_number_to_answer_to() {
        let known = Request::parse(br#"{"number":7,"command":"Release"}"#).unwrap();
        assert_eq!(known.number, 7);
        for json in [
            r#"{"number":8,"command":"Checkpoint"}"#,
            r#"{"number":8,"command":{"Checkpoint":{"path":"/x"}},"also":1}"#,
            r#"{"number":8}"#,
        ] {
            let unknown = Request::parse(json.as_bytes()).unwrap_err();
            assert_eq!(unknown, NotUnderstood::Command { number: 8 }, "{json}");
        }
        let nonsense = Request::parse(b"{}").unwrap_err();
        assert_eq!(nonsense, NotUnderstood::Nothing);
    }
}
