//! The socket over which a later daemon finds a shim: `<runtime_dir>/<id>.sock`.
//!
//! Addresses of unix sockets are bounded to 107 bytes, so the directory is named through its descriptor.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

fn directory(runtime_dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(runtime_dir, flags, Mode::empty())?)
}

fn address(directory: &OwnedFd, id: &str) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(PathBuf::from(format!(
        "/proc/self/fd/{}/{id}.sock",
        directory.as_raw_fd()
    )))?)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Connects to the shim of a container.
pub(crate) fn connect(runtime_dir: &Path, id: &str) -> io::Result<OwnedFd> {
    let directory = directory(runtime_dir)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address(&directory, id)?)?;
    Ok(socket)
}

/// Listens for later daemons; a socket that a killed shim left is replaced.
pub(crate) fn listen(runtime_dir: &Path, id: &str) -> io::Result<OwnedFd> {
    let directory = directory(runtime_dir)?;
    let socket = socket()?;
    // bind(2) gives the file the mode that the socket has.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
    let address = address(&directory, id)?;
    match rustix::net::bind(&socket, &address) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            remove(runtime_dir, id);
            rustix::net::bind(&socket, &address)?;
        }
        result => result?,
    }
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

/// Removes the socket; one that is gone already is as good.
pub(crate) fn remove(runtime_dir: &Path, id: &str) {
    let _ = std::fs::remove_file(runtime_dir.join(format!("{id}.sock")));
}
