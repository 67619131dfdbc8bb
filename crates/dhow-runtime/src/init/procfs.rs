//! The kernel's process filesystem, through a descriptor that was seen to be it.
//!
//! An image can have anything at /proc, and a running container can have mounted over it: a label or a setting
//! that is written to a file there is not set (the class of CVE-2019-19921). What is written or looked up goes
//! beneath this descriptor, follows no link out of it and crosses no mount that covers a part of it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use super::{failed, resolve};
use crate::protocol::StartError;

/// The root directory's inode number on every procfs (PROC_ROOT_INO, the kernel's include/linux/proc_ns.h).
const ROOT_INODE: u64 = 1;

pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// The host's, which it is until this process changes its root or its mount namespace.
    pub fn of_host() -> Result<Self, StartError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open("/proc", flags, Mode::empty()).map_err(failed("opening /proc"))?;
        match is_root(&fd).map_err(failed("looking at /proc"))? {
            true => Ok(Self(fd)),
            false => Err(StartError::Other(
                "the host's /proc is not a process filesystem".into(),
            )),
        }
    }

    /// The container's own, beneath its root filesystem, if there is one at its place.
    pub fn beneath(root: &OwnedFd) -> Option<Self> {
        let fd = resolve::open_without_links(root, Path::new("/proc"), OFlags::PATH).ok()?;
        is_root(&fd).ok()?.then_some(Self(fd))
    }

    /// Writes to one of the kernel's files, in one piece.
    pub fn write(&self, path: &str, value: &str) -> Result<(), Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = resolve::openat2(&self.0, Path::new(path), flags, Mode::empty(), resolve)?;
        if rustix::fs::fstatfs(&file)?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::XDEV);
        }
        match rustix::io::write(&file, value.as_bytes())? {
            written if written == value.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// Opens once more what a descriptor names, to be read or written.
    pub fn reopen(&self, fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.0, link(fd), flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// The number that the process of a pidfd has here; other process id namespaces have others.
    pub fn pid_of(&self, pidfd: impl AsFd) -> Result<u32, Errno> {
        let path = format!("self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, path, flags, Mode::empty())?;
        let mut text = [0u8; 1024];
        let length = rustix::io::read(&file, &mut text)?;
        String::from_utf8_lossy(&text[..length])
            .lines()
            .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
            .ok_or(Errno::SRCH)
    }

    /// The user namespace of a process, by its number here.
    pub fn user_namespace_of(&self, pid: u32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, format!("{pid}/ns/user"), flags, Mode::empty())
    }

    /// Where a descriptor is, from this process's root.
    pub fn path_of(&self, fd: impl AsFd) -> Result<PathBuf, Errno> {
        use std::os::unix::ffi::OsStringExt;
        let path = rustix::fs::readlinkat(&self.0, link(fd), Vec::new())?;
        Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
    }
}

fn link(fd: impl AsFd) -> String {
    format!("self/fd/{}", fd.as_fd().as_raw_fd())
}

pub(crate) fn is_procfs(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROC_SUPER_MAGIC)
}

/// Whether it is a whole procfs, not a part of one.
pub(crate) fn is_root(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(is_procfs(fd.as_fd())? && rustix::fs::fstat(fd)?.st_ino == ROOT_INODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_stays_on_procfs() {
        let procfs = Procfs::of_host().unwrap();
        let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        procfs.write("self/oom_score_adj", score.trim()).unwrap();
        for out in [
            "self/root/etc/hostname",
            "self/cwd/x",
            "../etc/hostname",
            "/proc/self/oom_score_adj",
            "self/exe",
        ] {
            assert!(procfs.write(out, "x").is_err(), "{out}");
        }
    }

    #[test]
    fn only_the_root_of_a_procfs_is_one() {
        let open = |path: &str| rustix::fs::open(path, OFlags::PATH, Mode::empty()).unwrap();
        assert!(is_root(open("/proc")).unwrap());
        assert!(!is_root(open("/proc/self")).unwrap());
        assert!(is_procfs(open("/proc/self/status")).unwrap());
        assert!(!is_root(open("/")).unwrap());
        assert!(!is_procfs(open("/proc/self/root")).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        assert!(Procfs::beneath(&root).is_none());
        std::os::unix::fs::symlink("/proc", dir.path().join("proc")).unwrap();
        assert!(Procfs::beneath(&root).is_none());
    }
}
