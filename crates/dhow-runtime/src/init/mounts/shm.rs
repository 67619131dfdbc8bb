//! Shared memory of another container: what is mounted at /dev/shm there is mounted here as well, so that
//! shm_open(3) finds the same in both, as the System V calls do in the namespace that they share.
//!
//! It is copied in the other's mount namespace, which the kernel lets be done in no other (open_tree(2)), and is
//! seen nowhere on the host. Only a mount is taken, as the other's image may have made anything of the path.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use super::tree::{attach, clone_tree};
use super::{Plan, finish};
use crate::init::options::Options;
use crate::init::resolve::{fd_path, open_beneath};
use crate::init::{Reporter, failed};
use crate::protocol::StartError;
use crate::sys;

/// The type that such a mount has in the specification.
pub(super) const KIND: &str = "x-dhow.shm";

/// Where it is in every container.
const PLACE: &str = "/dev/shm";

/// A copy of it, mounted nowhere yet. `other` is a pidfd of the other container's process. The calling process has
/// a single thread, and keeps its mount namespace, its root and its directory's filesystem.
pub(crate) fn of(other: &OwnedFd) -> Result<OwnedFd, StartError> {
    let what = "looking for the shared memory of the other container";
    let home = File::open("/proc/thread-self/ns/mnt").map_err(failed(what))?;
    let root = open_root().map_err(failed(what))?;
    sys::setns(other.as_fd(), libc::CLONE_NEWNS)
        .map_err(failed("joining the mount namespace of the other container"))?;
    let copied = copy();
    let returned = sys::setns(home.as_fd(), libc::CLONE_NEWNS);
    returned.map_err(failed("leaving the mount namespace of the other container"))?;
    // A namespace is entered at its root, which the daemon may not have been at.
    rustix::process::fchdir(&root).map_err(failed(what))?;
    rustix::process::chroot(".").map_err(failed(what))?;
    copied
        .map_err(failed(what))?
        .ok_or_else(|| StartError::Other(format!("the other container has nothing at {PLACE}")))
}

fn copy() -> Result<Option<OwnedFd>, Errno> {
    let found = match open_beneath(&open_root()?, Path::new(PLACE), OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        found => found?,
    };
    let stat = rustix::fs::statx(&found, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    match stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        true => clone_tree(&found, Path::new(""), false).map(Some),
        false => Ok(None),
    }
}

fn open_root() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty())
}

impl Plan<'_> {
    pub(super) fn shared_memory(
        &self,
        destination: &Path,
        options: &Options,
        reporter: &Reporter,
    ) -> Result<(), StartError> {
        let what = || format!("mounting shared memory at {}", destination.display());
        let shm = self.shm.as_ref();
        let shm = shm.ok_or_else(|| failed(what())("nobody shares any"))?;
        let target = self.target(destination, true)?;
        self.refuse_proc(&target, destination)?;
        attach(shm, &target.fd).map_err(failed(what()))?;
        rustix::mount::mount_change(fd_path(shm), MountPropagationFlags::PRIVATE)
            .map_err(failed(what()))?;
        finish(shm, destination, options, reporter).map_err(failed(what()))
    }
}
