//! The spawner: a small process, forked from the daemon before it has threads, that forks shims.
//!
//! A fork copies the page tables of the caller, and must not happen beside other threads: the daemon can do
//! neither cheaply nor soundly, so this process stays as small and single-threaded as the daemon was when
//! it began. It ends when the daemon does; the shims do not.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::cgroup::Layout;
use crate::init::rootfs;
use crate::{packet, shim, sys, title};

/// Forks the spawner and returns the daemon's end of the connection to it.
pub(crate) fn fork() -> io::Result<OwnedFd> {
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
        _ => Ok(ours),
    }
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
