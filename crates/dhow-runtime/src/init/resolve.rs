//! Paths beneath a root filesystem that is not trusted: resolved by openat2 as if it were the root, without
//! magic links, so that its symbolic links lead nowhere else.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

/// How many symbolic links that lead to something missing are followed when it is created.
const MAX_LINKS: usize = 40;

/// A path by which mount(2) finds a descriptor; /proc is the host's until the root is changed.
pub(crate) fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens a path as if `root` were the root directory, and through no magic link.
pub(crate) fn open_beneath(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve)
}

/// As [`open_beneath`], but a path that leads through a symbolic link is an error, ELOOP.
pub(crate) fn open_without_links(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

pub(crate) fn openat2(
    directory: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            // Something was renamed meanwhile, so the kernel could not tell where the path led.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

pub(crate) fn open_at(directory: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

pub(crate) fn make_directory(parent: &OwnedFd, name: impl rustix::path::Arg) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Filesystems whose directories are the kernel's objects, such as control groups (the kernel's
/// include/uapi/linux/magic.h).
fn is_kernels(directory: &OwnedFd) -> Result<bool, Errno> {
    const SYSFS_MAGIC: u32 = 0x6265_6572;
    const CGROUP_SUPER_MAGIC: u32 = 0x0027_e0eb;
    const CGROUP2_SUPER_MAGIC: u32 = 0x6367_7270;
    let kind = rustix::fs::fstatfs(directory)?.f_type as u32;
    Ok(kind == PROC_SUPER_MAGIC as u32
        || [SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&kind))
}

/// Opens what is at the path, or creates it there: a directory or an empty file. On procfs, sysfs and the
/// cgroup filesystems nothing is created.
pub(crate) fn create(root: &OwnedFd, path: &Path, directory: bool) -> Result<OwnedFd, Errno> {
    match open_beneath(root, path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let mut path = path.to_owned();
    'links: for _ in 0..MAX_LINKS {
        let components: Vec<_> = path
            .components()
            .filter(|part| {
                matches!(
                    part,
                    std::path::Component::Normal(_) | std::path::Component::ParentDir
                )
            })
            .collect();
        let mut at = PathBuf::from("/");
        for (index, part) in components.iter().enumerate() {
            let parent = open_beneath(root, &at, OFlags::PATH, Mode::empty())?;
            let here = at.join(part);
            let last = index + 1 == components.len();
            match open_beneath(root, &here, OFlags::PATH, Mode::empty()) {
                Ok(found) if last => return Ok(found),
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    if is_kernels(&parent)? {
                        return Err(Errno::PERM);
                    }
                    let made = if last && !directory {
                        let flags =
                            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                        rustix::fs::openat(
                            &parent,
                            part.as_os_str(),
                            flags,
                            Mode::from_raw_mode(0o755),
                        )
                        .map(drop)
                    } else {
                        rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755))
                    };
                    match made {
                        Ok(()) => {}
                        // A symbolic link to something missing: create what it leads to.
                        Err(Errno::EXIST) => {
                            let link =
                                rustix::fs::readlinkat(&parent, part.as_os_str(), Vec::new())?;
                            let rest: PathBuf = components[index + 1..].iter().collect();
                            let link = Path::new(std::ffi::OsStr::new(
                                link.to_str().map_err(|_| Errno::INVAL)?,
                            ))
                            .to_owned();
                            path = at.join(link).join(rest);
                            continue 'links;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
            at = here;
        }
        return open_beneath(root, &path, OFlags::PATH, Mode::empty());
    }
    Err(Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dir: &Path) -> OwnedFd {
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn links_out_of_the_root_lead_back_into_it() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/nowhere", dir.path().join("relative"))
            .unwrap();
        let root = root(dir.path());
        create(&root, Path::new("/absolute/made"), true).unwrap();
        create(&root, Path::new("/relative/file"), false).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("made").is_dir());
        assert!(dir.path().join("etc/nowhere/file").is_file());
    }

    #[test]
    fn nothing_is_created_among_the_kernels_objects() {
        let host = root(Path::new("/"));
        for path in ["/proc/dhow-test", "/proc/sys/dhow-test/x", "/sys/dhow-test"] {
            let refused = create(&host, Path::new(path), true).unwrap_err();
            assert_eq!(refused, Errno::PERM, "{path}");
        }
    }

    #[test]
    fn links_can_be_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        std::os::unix::fs::symlink("directory", dir.path().join("link")).unwrap();
        let root = root(dir.path());
        open_without_links(&root, Path::new("/directory"), OFlags::PATH).unwrap();
        for path in ["/link", "/link/."] {
            let refused = open_without_links(&root, Path::new(path), OFlags::PATH).unwrap_err();
            assert_eq!(refused, Errno::LOOP);
        }
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        assert_eq!(
            create(&root(dir.path()), Path::new("/loop/x"), true).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn parts_that_are_there_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let root = root(dir.path());
        create(&root, Path::new("/file"), false).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"x");
        create(&root, Path::new("/a/b/c"), true).unwrap();
        create(&root, Path::new("/a/b/d"), false).unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert!(dir.path().join("a/b/d").is_file());
    }
}
