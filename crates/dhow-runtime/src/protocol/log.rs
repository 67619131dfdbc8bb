//! What becomes of a container's output: the file that is kept of it, and the server that it goes to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Neither is a container without a log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogSink {
    pub file: Option<LogFile>,
    pub server: Option<LogServer>,
}

/// A file on this machine, and those that it became before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogFile {
    pub path: PathBuf,
    pub format: LogFormat,
    /// Rotation size in bytes; `None` never rotates.
    pub max_size: Option<u64>,
    /// How many files to keep, at least 1.
    pub max_file: u32,
    /// Whether files are compressed that are written no more.
    pub compress: bool,
    /// What each entry says beside its text: a JSON object in one line, or nothing.
    pub attrs: String,
}

/// How an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Docker's json-file format.
    JsonFile,
    /// See [`crate::logfile`].
    Local,
}

/// A server that takes entries, when it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogServer {
    pub dialect: LogDialect,
    pub address: LogAddress,
    /// Bytes of entries that may wait for it.
    pub buffer: u64,
    /// Whether the container waits when these are full and the server takes some; otherwise entries are dropped.
    pub patient: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDialect {
    Syslog {
        format: SyslogFormat,
        /// Times eight, as in the message's priority.
        facility: u8,
        tag: String,
        /// Messages are preceded by their length, RFC 5425.
        counted: bool,
    },
    Journald {
        /// What each entry has beside its text and what is its own.
        fields: Vec<(String, String)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogFormat {
    /// RFC 3164 without the host's name, what syslog(3) sends.
    Local,
    Rfc3164,
    Rfc5424,
    /// With microseconds.
    Rfc5424Micro,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogAddress {
    /// Sockets of this machine: datagrams at the first that is there, or else a stream.
    Here(Vec<PathBuf>),
    Datagrams(PathBuf),
    Stream(PathBuf),
    Udp(Host),
    Tcp(Host),
    Tls {
        host: Host,
        files: TlsFiles,
    },
}

impl LogAddress {
    /// The host, unless it is this one.
    pub fn host_mut(&mut self) -> Option<&mut Host> {
        match self {
            LogAddress::Udp(host) | LogAddress::Tcp(host) | LogAddress::Tls { host, .. } => {
                Some(host)
            }
            LogAddress::Here(_) | LogAddress::Datagrams(_) | LogAddress::Stream(_) => None,
        }
    }
}

impl Host {
    /// Whether it has to be looked up.
    pub fn has_name(&self) -> bool {
        self.name.parse::<IpAddr>().is_err()
    }
}

/// A host by its name and by what that means; whoever knows no name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub port: u16,
    pub addresses: Vec<SocketAddr>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The authority that signs the server; without one it is the system's.
    pub ca: Option<PathBuf>,
    /// The certificate for the server, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Take any certificate.
    pub unverified: bool,
}
