//! The spawner: a small process, forked from the daemon before it has threads, that forks shims.
//!
//! A fork copies the page tables of the caller, and must not happen beside other threads: the daemon can do
//! neither cheaply nor soundly, so this process stays as small and single-threaded as the daemon was when
//! it began. It ends when the daemon does; the shims do not, whichever of the two ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cgroup::Layout;
use crate::init::rootfs;
use crate::{packet, shim, sys, title};

/// Forks the spawner and returns the daemon's end of the connection to it, and its process.
pub(crate) fn fork() -> io::Result<(OwnedFd, i32)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: the caller made sure that this is the only thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(ours);
            run(theirs)
        }
        pid => Ok((ours, pid)),
    }
}

/// A spawner in a program that was executed for it, in the place of one that has ended: its end of the
/// connection is the standard input. Returns only when this is no such process. To be called before there is
/// any other thread.
pub fn main() -> ExitCode {
    let socket = match inherited() {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("dhow spawner: this is for the daemon to execute: {error}");
            return ExitCode::FAILURE;
        }
    };
    run(socket)
}

fn inherited() -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    let (kind, family) = (
        rustix::net::sockopt::socket_type(stdin)?,
        rustix::net::sockopt::socket_domain(stdin)?,
    );
    if kind != SocketType::SEQPACKET || family != AddressFamily::UNIX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("there are {threads} threads")));
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?)
}

fn run(socket: OwnedFd) -> ! {
    isolate(&socket);
    loop {
        let shim_socket = match packet::receive(&socket) {
            Ok(Some(mut packet)) => packet.fds.pop(),
            // The daemon is gone, or not to be understood.
            Ok(None) | Err(_) => std::process::exit(0),
        };
        let Some(shim_socket) = shim_socket else {
            continue;
        };
        // SAFETY: this process has a single thread, so the child may do anything.
        match unsafe { libc::fork() } {
            0 => {
                drop(socket);
                shim::run(shim_socket)
            }
            // When no process can be made the daemon sees that its shim's end of the socket is closed.
            _ => drop(shim_socket),
        }
    }
}

/// Takes the process out of the daemon's session and away from its descriptors and signals.
fn isolate(socket: &OwnedFd) {
    // Fails only for a process group leader, and a child that was just forked is none.
    let _ = rustix::process::setsid();
    // A shim outlives the daemon: it must keep neither the daemon's output open nor a directory in use.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    let _ = rustix::process::chdir("/");
    // Read once here, so that no shim has to; without cgroups a start says so.
    let _ = Layout::get();
    let _ = rootfs::appends_layers();
    let _ = rustix::thread::set_name(c"dhow-spawner");
    // SAFETY: this process has a single thread, and neither it nor a shim reads arguments or environment.
    unsafe { title::set("dhow spawner") };
    shim::signals::reset_for_spawner();
    // SAFETY: the descriptors belong to the daemon's start-up, of which nothing runs on here.
    unsafe { sys::close_all_but(&mut [socket.as_fd()]) };
}
