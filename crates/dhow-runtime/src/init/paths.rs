//! Kernel settings, and the paths that a container may not read or write, before its root filesystem becomes
//! the root: paths are resolved beneath it, and what is mounted is mounted on what they led to.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Linux;
use rustix::fs::{FileType, makedev};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mounts::{self, Plan};
use super::procfs::Procfs;
use super::resolve::fd_path;
use super::{failed, rootfs, unfit};
use crate::protocol::StartError;

pub(crate) fn set_sysctls(plan: &Plan<'_>, linux: &Linux) -> Result<(), StartError> {
    let Some(settings) = linux.sysctl().as_ref().filter(|all| !all.is_empty()) else {
        return Ok(());
    };
    // Which namespaces they are of is the writer's matter. The container's own procfs is whole where the
    // host's is covered in part, as it is where the host is a container.
    let own = Procfs::beneath(plan.root());
    let procfs = own.as_ref().unwrap_or(plan.procfs());
    for (name, value) in settings {
        let what = format!("setting the sysctl {name} to {value:?}");
        let path = setting(name).ok_or_else(|| unfit(&what)(Errno::INVAL))?;
        procfs.write(&path, value).map_err(unfit(&what))?;
    }
    Ok(())
}

/// Where a setting is on procfs. In its name dots and slashes have changed places, unless the first of them is
/// a slash (sysctl(8)). None leads upwards.
fn setting(name: &str) -> Option<String> {
    let slashes = name.find('/') < name.find('.') && name.contains('/') || !name.contains('.');
    let path: String = match slashes {
        true => name.to_owned(),
        false => name.chars().map(swapped).collect(),
    };
    let leads_on = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(leads_on).then(|| format!("sys/{path}"))
}

fn swapped(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

/// Makes paths read-only and masks others; those that the kernel does not have are passed over.
pub(crate) fn protect(plan: &Plan<'_>, linux: &Linux) -> Result<(), StartError> {
    for path in linux.readonly_paths().iter().flatten() {
        let what = || format!("making {path} read-only");
        let Some(found) = find(plan, path).map_err(unfit(what()))? else {
            continue;
        };
        make_read_only(&found).map_err(failed(what()))?;
    }
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    if masked.is_empty() {
        return Ok(());
    }
    let null = plan
        .resolve(Path::new("/dev/null"))
        .map_err(unfit("looking at /dev/null"))?;
    let stat = rustix::fs::fstat(&null).map_err(unfit("looking at /dev/null"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != makedev(1, 3)
    {
        return Err(StartError::Invalid(
            "/dev/null in the container is not the null device".into(),
        ));
    }
    // One empty filesystem serves all directories.
    let mut empty: Option<OwnedFd> = None;
    for path in masked {
        let what = || format!("masking {path}");
        let Some(found) = find(plan, path).map_err(unfit(what()))? else {
            continue;
        };
        // Looked at first: a mount of a file on a directory fails only after the kernel has made it, and
        // taking it back waits for an RCU grace period.
        match (
            mounts::is_directory(&found).map_err(failed(what()))?,
            &empty,
        ) {
            (false, _) => rustix::mount::mount_bind(fd_path(&null), fd_path(&found)),
            (true, Some(first)) => rustix::mount::mount_bind(fd_path(first), fd_path(&found)),
            (true, None) => rustix::mount::mount(
                "tmpfs",
                fd_path(&found),
                "tmpfs",
                MountFlags::RDONLY,
                Some(c"size=0k,nr_inodes=2"),
            )
            .and_then(|()| {
                empty = find(plan, path)?;
                Ok(())
            }),
        }
        .map_err(failed(what()))?;
    }
    Ok(())
}

fn make_read_only(found: &OwnedFd) -> Result<(), Errno> {
    let tree = mounts::clone_tree(found, Path::new(""), true)?;
    mounts::attach(&tree, found)?;
    let kept = rootfs::current_flags(&tree)?;
    rustix::mount::mount_remount(
        fd_path(&tree),
        MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY | kept,
        c"",
    )
}

fn find(plan: &Plan<'_>, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match plan.resolve(Path::new(path)) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_with_dots_or_slashes() {
        for (name, path) in [
            ("net.core.somaxconn", "sys/net/core/somaxconn"),
            ("net/core/somaxconn", "sys/net/core/somaxconn"),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "sys/net/ipv4/conf/eth0.1/forwarding",
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "sys/net/ipv4/conf/eth0.1/forwarding",
            ),
        ] {
            assert_eq!(setting(name).as_deref(), Some(path), "{name}");
        }
        for bad in [
            "",
            "net.",
            "net..x",
            "net.//.//.self",
            "net/../../self/x",
            "/etc/x",
        ] {
            assert_eq!(setting(bad), None, "{bad}");
        }
    }
}
