//! A view of a container's filesystem, for somebody who is not in the container: its root and what is mounted
//! there of volumes, binds and the user's own tmpfs, in a mount namespace that is the view's alone.
//!
//! Of a running container the mounts are its own, copied (open_tree(2)): what is seen and written there is what
//! its processes see. Of another one they are made as a start makes them. What the kernel shows of itself, /proc,
//! /sys and /dev, is left out of both, and so is what the container has mounted by itself. Nothing is executed,
//! and when the view's thread has ended, as it does with the daemon, nothing is mounted any more.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

use crate::init::mounts::{Plan, attach, clone_tree, is_directory};
use crate::init::procfs::Procfs;
use crate::init::resolve::{create, fd_path, open_beneath};
use crate::init::{Reporter, failed, rootfs};
use crate::protocol::{Rootfs, StartError};
use crate::sys;

/// Whose filesystem is viewed, and how.
pub enum View {
    /// That of a running container.
    Running {
        /// A pidfd of its init.
        init: OwnedFd,
        /// A directory of its own on the host, in whose place the root is mounted, unseen by the host.
        at: PathBuf,
        /// Where mounts are that belong to it, parents first.
        places: Vec<PathBuf>,
    },
    /// That of a container that does not run.
    Stopped {
        rootfs: Rootfs,
        /// Binds alone.
        mounts: Vec<Mount>,
        read_only: bool,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The container has ended, and its mount namespace is gone.
    #[error("the container has ended")]
    Ended,
    #[error("{0}")]
    Failed(#[from] StartError),
}

impl View {
    /// Opens the view and has the work done on its root directory, on a thread of its own. The process filesystem
    /// that the thread sees is the host's. At the end of the work nothing is mounted any more, whether it went
    /// well or not; then `done` is called.
    pub fn open(
        self,
        work: impl FnOnce(Result<OwnedFd, ViewError>) + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        // The kernel lets go of a thread's namespaces with the thread, and lets only one that shares its root and
        // its directory with no other change them. So this one is never used for anything else.
        std::thread::Builder::new()
            .name("view".into())
            .spawn(move || {
                self.show(work);
                done();
            })
            .map(drop)
    }

    fn show(self, work: impl FnOnce(Result<OwnedFd, ViewError>)) {
        let home = match File::open("/proc/thread-self/ns/mnt") {
            Ok(home) => OwnedFd::from(home),
            Err(error) => {
                let what = "opening the mount namespace";
                return work(Err(failed(what)(error).into()));
            }
        };
        work(self.mount(&home));
        // What was mounted goes with its namespace; here, rather than with the thread, it is gone when this
        // returns.
        if let Err(error) = sys::setns(home.as_fd(), libc::CLONE_NEWNS) {
            tracing::warn!(%error, "a view's mount namespace can't be left");
        }
    }

    fn mount(self, home: &OwnedFd) -> Result<OwnedFd, ViewError> {
        match self {
            View::Running { init, at, places } => {
                let trees = copy_mounts(&init, &places, home)?;
                unshare(UnshareFlags::NEWNS)?;
                Ok(assemble(trees, &at)?)
            }
            View::Stopped {
                rootfs,
                mounts,
                read_only,
            } => {
                unshare(UnshareFlags::NEWNS)?;
                Ok(mount_stopped(&rootfs, mounts, read_only)?)
            }
        }
    }
}

fn unshare(what: UnshareFlags) -> Result<(), StartError> {
    // SAFETY: neither flag touches descriptors or memory, and the thread is the view's alone.
    unsafe { rustix::thread::unshare_unsafe(what) }.map_err(failed("making a mount namespace"))
}

/// The root of a running container and the mounts that belong to it, mounted nowhere yet.
struct Trees {
    root: OwnedFd,
    others: Vec<(PathBuf, OwnedFd)>,
}

/// Looks for them in the container's mount namespace, and comes back.
fn copy_mounts(init: &OwnedFd, places: &[PathBuf], home: &OwnedFd) -> Result<Trees, ViewError> {
    unshare(UnshareFlags::FS)?;
    match sys::setns(init.as_fd(), libc::CLONE_NEWNS) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(ViewError::Ended),
        entered => entered.map_err(failed("joining the container's mount namespace"))?,
    }
    let copied = copy_here(places);
    sys::setns(home.as_fd(), libc::CLONE_NEWNS)
        .map_err(failed("leaving the container's mount namespace"))?;
    Ok(copied?)
}

fn copy_here(places: &[PathBuf]) -> Result<Trees, StartError> {
    let what = "copying the container's mounts";
    let here = open_directory(Path::new("/")).map_err(failed(what))?;
    let root = clone_tree(&here, Path::new(""), false).map_err(failed(what))?;
    let mut others = Vec::new();
    for place in places {
        // The container may have changed what is on the way, or have unmounted it.
        let Ok(found) = open_beneath(&here, place, OFlags::PATH, Mode::empty()) else {
            continue;
        };
        if is_mounted(&found).map_err(failed(what))? {
            let tree = clone_tree(&found, Path::new(""), true)
                .map_err(failed(format!("copying the mount at {}", place.display())))?;
            others.push((place.clone(), tree));
        }
    }
    Ok(Trees { root, others })
}

/// Mounts them in this thread's own namespace.
fn assemble(trees: Trees, at: &Path) -> Result<OwnedFd, StartError> {
    let what = "mounting the container's root filesystem";
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).map_err(failed(what))?;
    let target = open_directory(at).map_err(failed(what))?;
    attach(&trees.root, &target).map_err(failed(what))?;
    make_private(&trees.root).map_err(failed(what))?;
    for (place, tree) in trees.others {
        let what = || format!("mounting {}", place.display());
        let directory = is_directory(&tree).map_err(failed(what()))?;
        let target = match create(&trees.root, &place, directory) {
            Ok(target) => target,
            // Its place is on a filesystem that is not shown.
            Err(Errno::ROFS | Errno::PERM | Errno::NOTDIR) => continue,
            Err(error) => return Err(failed(what())(error)),
        };
        if is_directory(&target).map_err(failed(what()))? != directory {
            continue;
        }
        attach(&tree, &target).map_err(failed(what()))?;
        make_private(&tree).map_err(failed(what()))?;
    }
    Ok(trees.root)
}

fn mount_stopped(
    root: &Rootfs,
    mounts: Vec<Mount>,
    read_only: bool,
) -> Result<OwnedFd, StartError> {
    let mut spec = Spec::default();
    spec.set_mounts(Some(mounts)).set_linux(None);
    let root = rootfs::mount(root, &spec)?;
    let procfs = Procfs::of_host()?;
    let mut plan = Plan::new(&spec, root, &procfs)?;
    plan.mount_all(&silent()?)?;
    let root = plan.into_root();
    if read_only {
        let what = "making the root filesystem read-only";
        let kept = rootfs::current_flags(&root).map_err(failed(what))?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | kept;
        rustix::mount::mount_remount(fd_path(&root), flags, c"").map_err(failed(what))?;
    }
    Ok(root)
}

/// Warnings are for those who start a container.
fn silent() -> Result<Reporter, StartError> {
    let (reporter, _) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed("making a socket"))?;
    Ok(Reporter::new(reporter, false))
}

/// Whether a descriptor is of a mount's root.
fn is_mounted(fd: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn make_private(tree: &OwnedFd) -> Result<(), Errno> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(fd_path(tree), private)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
