//! Kernel settings, and the paths that a container may not read or write. All of it happens when the root
//! is already the container's, so that a path can lead nowhere else.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Linux;
use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{failed, rootfs};
use crate::protocol::StartError;

pub(crate) fn set_sysctls(linux: &Linux) -> Result<(), StartError> {
    for (name, value) in linux.sysctl().iter().flatten() {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        if Path::new(&path)
            .components()
            .any(|part| part == std::path::Component::ParentDir)
        {
            return Err(StartError::Other(format!(
                "{name} is not the name of a kernel setting"
            )));
        }
        std::fs::write(&path, value).map_err(failed(format!("setting {name} to {value:?}")))?;
    }
    Ok(())
}

/// Makes paths read-only and masks others; those that the kernel does not have are passed over.
pub(crate) fn protect(linux: &Linux) -> Result<(), StartError> {
    for path in linux.readonly_paths().iter().flatten() {
        let what = || format!("making {path} read-only");
        match rustix::mount::mount_bind_recursive(path, path) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(failed(what())(error)),
        }
        let mounted = open(path).map_err(failed(what()))?;
        let kept = rootfs::current_flags(&mounted).map_err(failed(what()))?;
        rustix::mount::mount_remount(
            path,
            MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY | kept,
            c"",
        )
        .map_err(failed(what()))?;
    }
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    if masked.is_empty() {
        return Ok(());
    }
    let null = rustix::fs::stat("/dev/null").map_err(failed("looking at /dev/null"))?;
    if FileType::from_raw_mode(null.st_mode) != FileType::CharacterDevice
        || null.st_rdev != makedev(1, 3)
    {
        return Err(StartError::Other(
            "/dev/null in the container is not the null device".into(),
        ));
    }
    // One empty filesystem serves all directories.
    let mut empty: Option<&str> = None;
    for path in masked {
        // Looked at first: a mount of a file on a directory fails only after the kernel has made it, and
        // taking it back waits for an RCU grace period.
        let directory = match rustix::fs::stat(path.as_str()) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(failed(format!("masking {path}"))(error)),
        };
        let masked = match (directory, empty) {
            (false, _) => rustix::mount::mount_bind("/dev/null", path),
            (true, Some(first)) => rustix::mount::mount_bind(first, path),
            (true, None) => {
                empty = Some(path);
                rustix::mount::mount(
                    "tmpfs",
                    path,
                    "tmpfs",
                    MountFlags::RDONLY,
                    Some(c"size=0k,nr_inodes=2"),
                )
            }
        };
        masked.map_err(failed(format!("masking {path}")))?;
    }
    Ok(())
}

fn open(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
