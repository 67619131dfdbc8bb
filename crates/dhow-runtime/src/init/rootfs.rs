//! The root filesystem: mounted in the container's own mount namespace, and made its root.
//!
//! Follows the kernel's Documentation/filesystems/overlayfs.rst and pivot_root(2), "pivot_root(".", ".")".

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

use super::{failed, resolve};
use crate::protocol::{Rootfs, StartError};

/// A string option of a mount's configuration is at most this long (the kernel's fs/fsopen.c).
const MAX_CONFIG_STRING: usize = 255;

/// Features that a kernel may have on by default. Layers are shared between containers, so they must not be claimed by
/// an index; and what is in the upper directory must be whole there, for a layer is made of it.
const SWITCHED_OFF: [&str; 3] = ["index", "redirect_dir", "metacopy"];

/// Mounts the root filesystem, unseen by the host, and returns its root.
pub(crate) fn mount(rootfs: &Rootfs, spec: &Spec) -> Result<OwnedFd, StartError> {
    let propagation = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.rootfs_propagation().as_deref());
    let propagation = match propagation {
        None | Some("") => MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        Some(name) => propagation_flags(name).ok_or_else(|| {
            StartError::Other(format!(
                "{name} is not a mount propagation; use private, slave or shared"
            ))
        })?,
    };
    rustix::mount::mount_change("/", propagation)
        .map_err(failed("detaching the mounts from the host's"))?;
    match rootfs {
        Rootfs::Overlay { lower, upper, work } => {
            // The overlay keeps a private reference to its upper directory, so it can be mounted on it.
            make_parent_private(upper, propagation)?;
            let what = || format!("mounting the root filesystem at {}", upper.display());
            let mounted = match appends_layers() {
                true => overlay(lower, Some((upper, work))),
                false => Err(Errno::NOSYS),
            };
            match mounted {
                Ok(tree) => {
                    let target = open_directory(upper).map_err(failed(what()))?;
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
                        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                    rustix::mount::move_mount(&tree, "", &target, "", flags)
                        .map_err(failed(what()))?;
                }
                // Kernels before 6.8 take all lower layers in one string.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    overlay_by_mount(lower, upper, work).map_err(failed(what()))?;
                }
                Err(error) => return Err(failed(what())(error)),
            }
            open_directory(upper).map_err(failed(what()))
        }
        Rootfs::Directory(path) => {
            make_parent_private(path, propagation)?;
            let what = || format!("mounting the root filesystem {}", path.display());
            rustix::mount::mount_bind_recursive(path, path).map_err(failed(what()))?;
            open_directory(path).map_err(failed(what()))
        }
    }
}

pub(crate) fn propagation_flags(name: &str) -> Option<MountPropagationFlags> {
    let (recursive, kind) = match name.strip_prefix('r') {
        Some(kind) => (MountPropagationFlags::REC, kind),
        None => (MountPropagationFlags::empty(), name),
    };
    Some(
        recursive
            | match kind {
                "private" => MountPropagationFlags::PRIVATE,
                "slave" => MountPropagationFlags::DOWNSTREAM,
                "shared" => MountPropagationFlags::SHARED,
                "unbindable" => MountPropagationFlags::UNBINDABLE,
                _ => return None,
            },
    )
}

/// pivot_root refuses a root below a shared mount, and a mount there would be seen outside.
fn make_parent_private(path: &Path, set: MountPropagationFlags) -> Result<(), StartError> {
    if !set.contains(MountPropagationFlags::SHARED) {
        return Ok(());
    }
    for ancestor in path.ancestors() {
        match rustix::mount::mount_change(ancestor, MountPropagationFlags::PRIVATE) {
            Ok(()) => return Ok(()),
            // Not a mount point: the mount is further up.
            Err(Errno::INVAL) => {}
            Err(error) => {
                return Err(failed(format!(
                    "making the mount {} private",
                    ancestor.display()
                ))(error));
            }
        }
    }
    Ok(())
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Whether this kernel's overlay takes layers one by one. The first call finds out, and a fork inherits the
/// answer: a kernel that does not would log a line for every mount that is tried.
pub(crate) fn appends_layers() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Ok(context) = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
            return false;
        };
        // Before 6.5 every option is taken, to be looked at when it is too late.
        let set = |name: &str| rustix::mount::fsconfig_set_string(context.as_fd(), name, "/");
        set("no-such-option").is_err() && set("lowerdir+").is_ok()
    })
}

/// Layers one by one through `lowerdir+` (Linux 6.8), which has no bound on their names' total length.
/// Without an upper directory it is read-only.
fn overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> rustix::io::Result<OwnedFd> {
    let too_long = |path: &Path| path.as_os_str().len() > MAX_CONFIG_STRING;
    if lower.is_empty()
        || lower.iter().any(|path| too_long(path))
        || upper.is_some_and(|(upper, work)| too_long(upper) || too_long(work))
    {
        return Err(Errno::INVAL);
    }
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for path in lower {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", path)?;
    }
    if let Some((upper, work)) = upper {
        rustix::mount::fsconfig_set_string(context.as_fd(), "upperdir", upper)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "workdir", work)?;
    }
    for option in SWITCHED_OFF {
        rustix::mount::fsconfig_set_string(context.as_fd(), option, "off")?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        match upper {
            Some(_) => MountAttrFlags::empty(),
            None => MountAttrFlags::MOUNT_ATTR_RDONLY,
        },
    )
}

/// Layers merged for reading, at least two of them, mounted nowhere yet.
pub(crate) fn layers_alone(layers: &[PathBuf]) -> rustix::io::Result<OwnedFd> {
    match appends_layers() {
        true => overlay(layers, None),
        false => Err(Errno::NOSYS),
    }
}

/// The same on kernels that take them in one string, over a directory.
pub(crate) fn layers_alone_by_mount(layers: &[PathBuf], at: &OwnedFd) -> rustix::io::Result<()> {
    let open: Vec<OwnedFd> = layers
        .iter()
        .map(|path| open_directory(path))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = open.iter().map(resolve::fd_path).collect();
    let data = std::ffi::CString::new(format!("lowerdir={}", names.join(":")))
        .map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::RDONLY;
    rustix::mount::mount(
        "overlay",
        resolve::fd_path(at),
        "overlay",
        flags,
        Some(data.as_c_str()),
    )
}

/// All layers in one option string, bounded by a page: each layer is named by a descriptor, a few bytes.
fn overlay_by_mount(lower: &[PathBuf], upper: &Path, work: &Path) -> rustix::io::Result<()> {
    let open = |path: &Path| open_directory(path);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let empty;
    let layers = if lower.is_empty() {
        // An image without layers: an overlay needs a lower directory, and the work directory's is empty.
        empty = work.join("empty");
        match rustix::fs::mkdir(&empty, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        vec![open(&empty)?]
    } else {
        lower
            .iter()
            .map(|path| open(path))
            .collect::<Result<Vec<_>, _>>()?
    };
    let (upper_fd, work_fd) = (open(upper)?, open(work)?);
    let names: Vec<String> = layers.iter().map(name).collect();
    let data = format!(
        "lowerdir={},upperdir={},workdir={},{}=off",
        names.join(":"),
        name(&upper_fd),
        name(&work_fd),
        SWITCHED_OFF.join("=off,")
    );
    let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        "overlay",
        upper,
        "overlay",
        MountFlags::empty(),
        Some(data.as_c_str()),
    )
}

/// Makes the mounted tree the root of the mount namespace, and lets go of the host's.
pub(crate) fn pivot(root: OwnedFd, spec: &Spec) -> Result<(), StartError> {
    let host = open_directory(Path::new("/")).map_err(failed("opening the host's root"))?;
    rustix::process::fchdir(&root).map_err(failed("entering the root filesystem"))?;
    rustix::process::pivot_root(".", ".").map_err(failed("pivot_root"))?;
    // The old root lies on top of the new one; nothing that is unmounted here may reach the host.
    rustix::process::fchdir(&host).map_err(failed("entering the host's root"))?;
    let private = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(".", private).map_err(failed("detaching the host's root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(failed("unmounting the host's root"))?;
    rustix::process::chdir("/").map_err(failed("entering the root filesystem"))?;
    let propagation = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.rootfs_propagation().as_deref());
    if let Some(flags) = propagation.and_then(propagation_flags) {
        rustix::mount::mount_change("/", flags)
            .map_err(failed("setting the root filesystem's propagation"))?;
    }
    Ok(())
}

/// Makes the process's root read-only.
pub(crate) fn make_read_only() -> Result<(), StartError> {
    let what = "making the root filesystem read-only";
    let root = open_directory(Path::new("/")).map_err(failed(what))?;
    let flags =
        MountFlags::BIND | MountFlags::RDONLY | current_flags(&root).map_err(failed(what))?;
    rustix::mount::mount_remount("/", flags, c"").map_err(failed(what))
}

/// The mount flags that a remount would otherwise clear.
pub(crate) fn current_flags(mount: &OwnedFd) -> rustix::io::Result<MountFlags> {
    use rustix::fs::StatVfsMountFlags as Stat;
    let stat = rustix::fs::fstatvfs(mount)?;
    let mut flags = MountFlags::empty();
    for (has, flag) in [
        (Stat::RDONLY, MountFlags::RDONLY),
        (Stat::NOSUID, MountFlags::NOSUID),
        (Stat::NODEV, MountFlags::NODEV),
        (Stat::NOEXEC, MountFlags::NOEXEC),
        (Stat::NOATIME, MountFlags::NOATIME),
        (Stat::NODIRATIME, MountFlags::NODIRATIME),
        (Stat::RELATIME, MountFlags::RELATIME),
    ] {
        if stat.f_flag.contains(has) {
            flags |= flag;
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_appended_where_the_kernel_can() {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        // 6.7 has it where a distribution took it from 6.8.
        if version != (6, 7) {
            assert_eq!(appends_layers(), version >= (6, 8), "{release}");
        }
    }
}
