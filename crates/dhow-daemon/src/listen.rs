//! The sockets on which the daemon listens: `unix://PATH`, `tcp://HOST:PORT`, and `fd://` for those that
//! systemd holds for it (sd_listen_fds(3)).
//!
//! A path is never without a socket that answers, nor taken from a daemon that does: the new socket is
//! made beside it, and renamed into its place only if nobody serves the old one.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dhow_transport::keep_alive;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::hijack::Transport;

/// The port of `tcp://` without one: Docker's, without and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// The first descriptor that systemd passes (sd_listen_fds(3)).
const LISTEN_FDS_START: i32 = 3;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    /// A host and, if it was given, a port.
    Tcp(String, Option<u16>),
    Systemd,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "invalid host {0:?}: expected unix:///path/to.sock, tcp://address:port, or fd:// under systemd"
    )]
    Invalid(String),
    #[error("a daemon already listens on {0}: stop it, or give this one another with -H")]
    Served(PathBuf),
    #[error("{0} exists and is not a socket: remove it, or listen elsewhere with -H")]
    NotASocket(PathBuf),
    #[error("there is no group {0:?} on this machine: create it, or name another with --group")]
    NoSuchGroup(String),
    #[error(
        "fd:// without sockets from systemd: use it in a service that is started by a socket unit"
    )]
    NotActivated,
    #[error("listening on {address}: {source}")]
    Io { address: String, source: io::Error },
}

impl FromStr for Host {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Host, ListenError> {
        let invalid = || ListenError::Invalid(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Host::Unix(path.into()))
            } else {
                Err(invalid())
            };
        }
        if text.starts_with("fd://") {
            return Ok(Host::Systemd);
        }
        let address = match text.strip_prefix("tcp://") {
            Some(address) => address.trim_end_matches('/'),
            // Docker takes `host:port` as TCP.
            None if !text.contains("://") && text.contains(':') => text,
            None => return Err(invalid()),
        };
        let (host, port) = match address.rsplit_once(':') {
            // The colons of a bare IPv6 address are in brackets.
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| invalid())?))
            }
            _ => (address, None),
        };
        if host.contains('/') {
            return Err(invalid());
        }
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Host::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Tcp(host, Some(port)) => write!(f, "tcp://{host}:{port}"),
            Host::Tcp(host, None) => write!(f, "tcp://{host}"),
            Host::Systemd => f.write_str("fd://"),
        }
    }
}

enum Socket {
    Unix {
        listener: UnixListener,
        /// The path to remove at the end, with the inode that is ours; none under systemd.
        owned: Option<(PathBuf, u64)>,
    },
    Tcp(TcpListener),
}

/// A socket that accepts clients. Its path is removed when it is dropped.
pub struct Listener {
    address: String,
    socket: Socket,
    tls: Option<TlsAcceptor>,
}

/// A client that has connected.
pub enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, Option<TlsAcceptor>),
}

impl Accepted {
    /// Completes the TLS handshake, where there is one.
    pub async fn establish(self) -> io::Result<Box<dyn Transport>> {
        match self {
            Accepted::Unix(stream) => Ok(Box::new(stream)),
            Accepted::Tcp(stream, None) => Ok(Box::new(stream)),
            Accepted::Tcp(stream, Some(tls)) => {
                let handshake = tokio::time::timeout(Duration::from_secs(30), tls.accept(stream));
                Ok(Box::new(handshake.await??))
            }
        }
    }
}

impl Listener {
    /// Binds every host; all or none.
    pub async fn bind_all(
        hosts: &[Host],
        group: Option<&str>,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Vec<Listener>, ListenError> {
        let mut listeners = Vec::new();
        for host in hosts {
            match host {
                Host::Unix(path) => listeners.push(bind_unix(path, group).await?),
                Host::Tcp(name, port) => {
                    let default = if tls.is_some() { TLS_PORT } else { PORT };
                    let address = format!("{name}:{}", port.unwrap_or(default));
                    let listener = TcpListener::bind(&address).await.map_err(io_error(host))?;
                    let bound = listener.local_addr().map_err(io_error(host))?;
                    listeners.push(Listener {
                        address: format!("tcp://{bound}"),
                        socket: Socket::Tcp(listener),
                        tls: tls.clone().map(TlsAcceptor::from),
                    });
                }
                Host::Systemd => listeners.extend(from_systemd(tls.as_ref())?),
            }
        }
        Ok(listeners)
    }

    /// Binds the address that metrics are served on: `HOST:PORT`, where no host is every address.
    pub async fn bind_metrics(address: &str) -> Result<Listener, ListenError> {
        let failed = |e| {
            let address = format!("{address} for metrics");
            ListenError::Io { address, source: e }
        };
        let listener = match address.strip_prefix(':') {
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                // A kernel without IPv6.
                Err(e)
                    if e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
                {
                    TcpListener::bind(format!("0.0.0.0:{port}")).await
                }
                bound => bound,
            },
            None => TcpListener::bind(address).await,
        };
        let listener = listener.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Listener {
            address: format!("tcp://{bound}"),
            socket: Socket::Tcp(listener),
            tls: None,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where a TCP listener is bound.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// Waits for a client.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream))
            }
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Terminals send single keys.
                stream.set_nodelay(true)?;
                keep_alive(&stream)?;
                Ok(Accepted::Tcp(stream, self.tls.clone()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix {
            owned: Some((path, inode)),
            ..
        } = &self.socket
            && std::fs::symlink_metadata(path).is_ok_and(|m| m.ino() == *inode)
        {
            // Nothing is left to do if it can't be removed; the next daemon replaces it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn io_error(address: impl fmt::Display) -> impl FnOnce(io::Error) -> ListenError {
    move |source| ListenError::Io {
        address: address.to_string(),
        source,
    }
}

async fn bind_unix(path: &Path, group: Option<&str>) -> Result<Listener, ListenError> {
    let address = format!("unix://{}", path.display());
    refuse_to_replace(path).await?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io_error(&address))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    // Left by an earlier process of the same number.
    let _ = std::fs::remove_file(&beside);
    let bound = UnixListener::bind(&beside).map_err(io_error(&address))?;
    let placed = place(&beside, path, group, &address);
    if placed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    Ok(Listener {
        address,
        socket: Socket::Unix {
            listener: bound,
            owned: Some((path.to_owned(), placed?)),
        },
        tls: None,
    })
}

/// Fails where the path is somebody else's.
async fn refuse_to_replace(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => Err(ListenError::Served(path.to_owned())),
    }
}

/// Gives the new socket its owner and mode, then its place. Returns its inode.
fn place(
    beside: &Path,
    path: &Path,
    group: Option<&str>,
    address: &str,
) -> Result<u64, ListenError> {
    let gid = match group {
        Some(group) => Some(group_id(group)?),
        // The group that the documentation tells to create, where it was.
        None => group_id("dhow").ok(),
    };
    chown(beside, Some(0), gid)
        .or_else(|e| match gid {
            // Without a group to give it to, a daemon that is not root keeps its own.
            None => Ok(()),
            Some(_) => Err(e),
        })
        .map_err(io_error(address))?;
    std::fs::set_permissions(beside, Permissions::from_mode(0o660)).map_err(io_error(address))?;
    std::fs::rename(beside, path).map_err(io_error(address))?;
    let placed = std::fs::symlink_metadata(path).map_err(io_error(address))?;
    Ok(placed.ino())
}

/// Whether there is a group of this name.
pub fn has_group(group: &str) -> bool {
    group_id(group).is_ok()
}

/// A group's number, from /etc/group: the C library's own look-up does not work in a static binary.
fn group_id(group: &str) -> Result<u32, ListenError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    file.lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
        })
        .ok_or_else(|| ListenError::NoSuchGroup(group.to_owned()))
}

fn from_systemd(tls: Option<&Arc<rustls::ServerConfig>>) -> Result<Vec<Listener>, ListenError> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return Err(ListenError::NotActivated);
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    if count < 1 {
        return Err(ListenError::NotActivated);
    }
    (LISTEN_FDS_START..LISTEN_FDS_START.saturating_add(count))
        .map(|fd| {
            // SAFETY: systemd passed this descriptor to this process and nothing else here owns it; this
            // runs once, at the start.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            adopt(fd, tls).map_err(io_error("fd://"))
        })
        .collect()
}

fn adopt(fd: OwnedFd, tls: Option<&Arc<rustls::ServerConfig>>) -> io::Result<Listener> {
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    let address = rustix::net::getsockname(&fd)?;
    if address.address_family() == rustix::net::AddressFamily::UNIX {
        return Ok(Listener {
            address: "fd:// (unix)".to_owned(),
            socket: Socket::Unix {
                listener: UnixListener::from_std(fd.into())?,
                owned: None,
            },
            tls: None,
        });
    }
    let listener = TcpListener::from_std(fd.into())?;
    Ok(Listener {
        address: format!("fd:// (tcp://{})", listener.local_addr()?),
        socket: Socket::Tcp(listener),
        tls: tls.cloned().map(TlsAcceptor::from),
    })
}

#[cfg(test)]
mod tests;
