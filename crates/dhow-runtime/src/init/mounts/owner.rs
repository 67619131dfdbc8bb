//! Mounts whose files belong to somebody else in the container: what is its owner's on the host is another's there,
//! and what that one writes is the owner's on the host. Nothing is changed on the disk.
//!
//! Who writes as another could make programs that run as that one, on the host root: in such a mount the bits that
//! say so have no effect.
//!
//! The kernel takes the mapping from a user namespace (mount_setattr(2), "ID-mapped mounts"; the kernel's
//! Documentation/filesystems/idmappings.rst), which nobody is in: a child is cloned into a new one, and is gone once
//! that is held by a descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use crate::init::procfs::Procfs;
use crate::protocol::StartError;
use crate::sys::{self, Cloned};

/// The highest id and one more; the highest of 32 bits is none.
const IDS: u64 = u32::MAX as u64;

/// Whose files they are to be; as on the host where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Owner {
    pub fn is_other(self) -> bool {
        self != Self::default()
    }
}

/// Maps the owner of what the tree shows to the one that is wanted. The tree must not be mounted yet.
pub(super) fn give(
    tree: &OwnedFd,
    recursive: bool,
    wanted: Owner,
    procfs: &Procfs,
) -> io::Result<()> {
    let stat = rustix::fs::fstat(tree)?;
    let uids = mapping(stat.st_uid, wanted.uid.unwrap_or(stat.st_uid));
    let gids = mapping(stat.st_gid, wanted.gid.unwrap_or(stat.st_gid));
    let namespace = user_namespace(&uids, &gids, procfs)?;
    sys::mount_setattr_idmap(tree.as_fd(), namespace.as_fd(), recursive)
}

/// What a user is told whose mount can't have another owner.
pub(super) fn refused(source: &Path, tree: &OwnedFd, error: io::Error) -> StartError {
    let source = source.display().to_string();
    let kind = rustix::fs::fstatfs(tree).map_or(0, |stat| stat.f_type as u64);
    StartError::Invalid(match error.raw_os_error() {
        Some(libc::EINVAL | libc::EPERM | libc::ENOSYS | libc::EOPNOTSUPP) => format!(
            "the files of {source:?} can't be shown as another user's: its filesystem (of type 0x{kind:x}), one that is mounted beneath it, or the kernel has no ID-mapped mounts: leave out uid and gid"
        ),
        Some(libc::ENOSPC | libc::EUSERS) => format!(
            "the files of {source:?} can't be shown as another user's: the kernel makes no more user namespaces (sysctl user.max_user_namespaces): {error}"
        ),
        _ => format!("showing the files of {source:?} as another user's: {error}"),
    })
}

/// The lines of a map from ids on the disk to ids in the container: the owner's to the one that is wanted, all
/// others to themselves. The wanted one's own files become the owner's in turn, so that no id is without a
/// place; but never does somebody write as root because root writes as somebody.
fn mapping(owner: u32, wanted: u32) -> String {
    let (owner, wanted) = (u64::from(owner), u64::from(wanted));
    if owner == wanted {
        return format!("0 0 {IDS}\n");
    }
    let mut lines = format!("{owner} {wanted} 1\n");
    if wanted != 0 {
        lines.push_str(&format!("{wanted} {owner} 1\n"));
    }
    let (low, high) = (owner.min(wanted), owner.max(wanted));
    for (first, end) in [(0, low), (low + 1, high), (high + 1, IDS)] {
        if first < end {
            lines.push_str(&format!("{first} {first} {}\n", end - first));
        }
    }
    lines
}

fn user_namespace(uids: &str, gids: &str, procfs: &Procfs) -> io::Result<OwnedFd> {
    let (wait, release) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: other threads there may be, in the daemon; the child makes system calls alone, and ends.
    let cloned = unsafe { sys::clone3(libc::CLONE_NEWUSER, None) }?;
    let (pid, pidfd) = match cloned {
        Cloned::Child => {
            // SAFETY: both descriptors are open in the child, which is to see the end of the pipe when its
            // parent is gone; what is read goes to a byte of its own.
            unsafe {
                libc::close(release.as_raw_fd());
                let mut byte = 0u8;
                libc::read(wait.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::_exit(0)
            }
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    let made = held(&pidfd, uids, gids, procfs);
    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    drop(release);
    sys::reap(pid, true)?;
    made
}

fn held(pidfd: &OwnedFd, uids: &str, gids: &str, procfs: &Procfs) -> io::Result<OwnedFd> {
    // The child's number where the process filesystem counts, which is not where this process does.
    let pid = procfs.pid_of(pidfd)?;
    procfs.write(&format!("{pid}/uid_map"), uids)?;
    procfs.write(&format!("{pid}/gid_map"), gids)?;
    Ok(procfs.user_namespace_of(pid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_one_place_and_root_is_nobodys_gain() {
        assert_eq!(mapping(7, 7), "0 0 4294967295\n");
        assert_eq!(
            mapping(1001, 1000),
            "1001 1000 1\n1000 1001 1\n0 0 1000\n1002 1002 4294966293\n"
        );
        assert_eq!(
            mapping(0, 1000),
            "0 1000 1\n1000 0 1\n1 1 999\n1001 1001 4294966294\n"
        );
        assert_eq!(
            mapping(1000, 0),
            "1000 0 1\n1 1 999\n1001 1001 4294966294\n"
        );
    }
}
