//! Where something is mounted: found or created beneath the root, and looked at by its descriptor.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Plan;
use super::tree::mount_id;
use crate::init::procfs;
use crate::init::resolve::{create, open_without_links};
use crate::init::{failed, unfit};
use crate::protocol::StartError;

/// What of /proc may be mounted over, as in runc; over anything else a container could be fooled about itself.
const PROC_EXCEPTIONS: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Where something is to be mounted.
pub(super) struct Target {
    pub fd: OwnedFd,
    /// From the container's root, without links.
    pub path: PathBuf,
    /// It was there before.
    pub existed: bool,
}

impl Target {
    /// The path beneath /proc, if it is there; empty for /proc itself.
    pub fn beneath_proc(&self) -> Option<&Path> {
        self.path.strip_prefix("/proc").ok()
    }
}

impl Plan<'_> {
    /// Finds a mount point, or creates it.
    pub(super) fn target(&self, destination: &Path, directory: bool) -> Result<Target, StartError> {
        let what = || format!("creating the mount point {}", destination.display());
        let (fd, existed) = match self.resolve(destination) {
            Ok(fd) => (fd, true),
            Err(Errno::NOENT) => {
                let fd = create(&self.root, destination, directory).map_err(unfit(what()))?;
                (fd, false)
            }
            Err(error) => return Err(unfit(what())(error)),
        };
        self.located(fd, existed, destination)
    }

    /// A mount point that no link leads to: where procfs and sysfs are, nothing may be mistaken (the class of
    /// CVE-2019-19921).
    pub(super) fn ordinary_directory(
        &self,
        destination: &Path,
        kind: &str,
    ) -> Result<Target, StartError> {
        let find = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            open_without_links(&self.root, destination, flags)
        };
        let what = || format!("creating the mount point {}", destination.display());
        let (found, existed) = match find() {
            Err(Errno::NOENT) => {
                create(&self.root, destination, true).map_err(unfit(what()))?;
                (find(), false)
            }
            found => (found, true),
        };
        match found {
            Ok(fd) => self.located(fd, existed, destination),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(StartError::Invalid(format!(
                "filesystem {kind:?} must be mounted on ordinary directory: {} is none in this image",
                destination.display()
            ))),
            Err(error) => Err(unfit(what())(error)),
        }
    }

    fn located(
        &self,
        fd: OwnedFd,
        existed: bool,
        destination: &Path,
    ) -> Result<Target, StartError> {
        let what = || format!("looking at the mount point {}", destination.display());
        let path = self.procfs.path_of(&fd).map_err(failed(what()))?;
        let Ok(path) = path.strip_prefix(&self.root_path) else {
            return Err(failed(what())("it is outside of the root filesystem"));
        };
        let target = Target {
            fd,
            path: Path::new("/").join(path),
            existed,
        };
        if target.path == Path::new("/") {
            let why = "it is the root of the container";
            return Err(refused(&target, destination, why));
        }
        Ok(target)
    }

    /// Nothing is mounted on procfs, or where it is going to be, but on the exceptions.
    pub(super) fn refuse_proc(
        &self,
        target: &Target,
        destination: &Path,
    ) -> Result<(), StartError> {
        let beneath = target.beneath_proc();
        let what = || format!("looking at the mount point {}", destination.display());
        if beneath.is_none() && !procfs::is_procfs(&target.fd).map_err(failed(what()))? {
            return Ok(());
        }
        if let Some(beneath) = beneath
            && PROC_EXCEPTIONS
                .iter()
                .any(|name| beneath == Path::new(name))
        {
            return Ok(());
        }
        Err(refused(target, destination, "it is inside /proc"))
    }

    /// The mount that was just made on a target, which its descriptor does not name: that is what is covered.
    pub(super) fn mounted(&self, target: &Target) -> Result<OwnedFd, Errno> {
        let found = open_without_links(&self.root, &target.path, OFlags::PATH)?;
        // Links can't have led elsewhere; a directory of a volume may have been moved meanwhile.
        if mount_id(&found)? == mount_id(&target.fd)? {
            return Err(Errno::AGAIN);
        }
        Ok(found)
    }
}

pub(super) fn refused(target: &Target, destination: &Path, why: &str) -> StartError {
    let path = target.path.display().to_string();
    let leads = match target.path == destination {
        true => String::new(),
        false => format!(" ({:?} leads there)", destination.display().to_string()),
    };
    StartError::Invalid(format!("{path:?} cannot be mounted because {why}{leads}"))
}
