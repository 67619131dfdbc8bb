//! System calls that rustix has no wrapper for, under the kernel's names; no policy.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// include/uapi/linux/sched.h
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a clone returns, in each of the two processes.
pub(crate) enum Cloned {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// clone3(2) without shared memory: a fork into new namespaces and, on cgroup v2, into a cgroup.
///
/// # Safety
/// The process must have a single thread: the child has a copy of the memory, with every lock as it was.
pub(crate) unsafe fn clone3(namespaces: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: namespaces as u64 | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Default::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments are initialized and of the size given; no stack is given, so the child goes on
    // with a copy of this one, as after fork; the caller vouches for there being no other thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD stored a new descriptor that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: pid as i32,
                pidfd,
            })
        }
    }
}

/// setns(2): with a pidfd, `kinds` is the set of namespaces to join.
pub(crate) fn setns(fd: BorrowedFd<'_>, kinds: i32) -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::setns(fd.as_raw_fd(), kinds) })
}

/// The code, as a shell gives it, of a child that has ended; it is left to be reaped.
pub(crate) fn code_of_ended(pid: i32) -> Option<i32> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: waitid writes to a siginfo of its own type, which is valid zeroed as well, and whose status is
    // set for a child that ended.
    unsafe {
        if libc::waitid(
            libc::P_PID,
            pid as u32,
            info.as_mut_ptr(),
            libc::WEXITED | libc::WNOWAIT | libc::WNOHANG,
        ) != 0
        {
            return None;
        }
        let info = info.assume_init();
        if info.si_pid() == 0 {
            return None;
        }
        let status = info.si_status();
        Some(if info.si_code == libc::CLD_EXITED {
            status
        } else {
            128 + status
        })
    }
}

/// A child that has ended, reaped: its process id and its code as a shell gives it, 128 + n after signal n.
pub(crate) fn reap(pid: i32, wait: bool) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: waitpid writes to the integer given.
        match unsafe { libc::waitpid(pid, &mut status, if wait { 0 } else { libc::WNOHANG }) } {
            0 => return Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => continue,
                error => return Err(error),
            },
            ended => {
                let code = if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
                return Ok(Some((ended, code)));
            }
        }
    }
}

/// include/uapi/linux/mount.h
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_NOSUID: u64 = 0x0000_0002;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// mount_setattr(2), for the mapping of ids of a user namespace; Linux 5.12. No program there runs as its owner.
pub(crate) fn mount_setattr_idmap(
    tree: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the attributes live through the call, and the size is the attributes'.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result as i32)
}

/// mount_setattr(2): all of a tree, mounted or not, gets what its peers get, and gives them nothing; Linux 5.12.
pub(crate) fn mount_setattr_slave(tree: BorrowedFd<'_>) -> io::Result<()> {
    set_recursively(
        tree,
        &MountAttr {
            attr_set: 0,
            attr_clr: 0,
            propagation: libc::MS_SLAVE,
            userns_fd: 0,
        },
    )
}

/// mount_setattr(2), recursively; Linux 5.12.
pub(crate) fn mount_setattr_recursive(
    tree: BorrowedFd<'_>,
    set: u64,
    clear: u64,
) -> io::Result<()> {
    set_recursively(
        tree,
        &MountAttr {
            attr_set: set,
            attr_clr: clear,
            propagation: 0,
            userns_fd: 0,
        },
    )
}

fn set_recursively(tree: BorrowedFd<'_>, attr: &MountAttr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path and the attributes live through the call, and the size is the attributes'.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    check(result as i32)
}

/// Closes every descriptor from 3 on but `kept`; Linux 5.9.
///
/// # Safety
/// Nothing may use, or own, any of them any more.
pub(crate) unsafe fn close_others(kept: BorrowedFd<'_>) -> io::Result<()> {
    let close = |first: u32, last: u32| match first <= last {
        // SAFETY: the caller gave the descriptors up.
        true => check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as i32),
        false => Ok(()),
    };
    let kept = kept.as_raw_fd() as u32;
    close(3, kept.saturating_sub(1))?;
    close((kept + 1).max(3), u32::MAX)
}

/// The process at the other end of a unix socket: who connected, or who has called listen(2). 0 where it is
/// not of this pid namespace.
pub(crate) fn peer_pid(socket: &OwnedFd) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes a ucred of at most the length given.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    })?;
    Ok(peer.pid as u32)
}

/// Closes every descriptor from 3 on but those in `keep`, which are put in order.
///
/// # Safety
/// As of [`close_from`], for the others.
pub(crate) unsafe fn close_all_but(keep: &mut [BorrowedFd<'_>]) {
    keep.sort_unstable_by_key(|fd| fd.as_raw_fd());
    let mut first = 3;
    for fd in keep.iter().map(|fd| fd.as_raw_fd() as u32) {
        if first < fd {
            // SAFETY: the caller gave the descriptors up.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = first.max(fd + 1);
    }
    // SAFETY: as above.
    unsafe { close_from(first) };
}

/// Closes every descriptor from `first` on.
///
/// # Safety
/// Nothing may use, or own, any of them any more.
pub(crate) unsafe fn close_from(first: u32) {
    // SAFETY: the caller gave the descriptors up.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

fn check(result: i32) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
