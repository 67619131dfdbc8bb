//! Filesystems that containers share, mounted on the host for as long as one of them uses it: mount(2) and
//! umount2(2), with the options of mount(8). What is mounted in the daemon's namespace, every container that is
//! made later finds there.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::init::mounts::{attach, clone_tree, is_directory};
use crate::init::options::Options;
use crate::init::program::words;
use crate::init::rootfs;
use crate::{mountinfo, sys};

/// So many mounts on one another are taken away; more nobody makes.
const MOST_LAYERS: usize = 64;

/// What is to be mounted, in mount(8)'s words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// A device, a path, a server's export.
    pub source: String,
    /// Of /proc/filesystems; `none` for a bind.
    pub kind: String,
    /// Separated by commas; the filesystem's own are among them.
    pub options: String,
}

/// A filesystem that could not be mounted, in the words that Docker has for it.
#[derive(Debug, thiserror::Error)]
#[error("mount {source_name}:{target}{flags}{data}: {why}")]
pub struct MountError {
    source_name: String,
    target: String,
    flags: String,
    data: String,
    why: String,
}

impl Filesystem {
    /// Mounts it at a directory. Blocks, for as long as a server takes to answer.
    pub fn mount(&self, at: &Path) -> Result<(), MountError> {
        let words: Vec<&str> = self.options.split(',').collect();
        let options = match Options::parse(&words) {
            Ok(options) => options,
            Err(why) => return Err(self.error(at, MountFlags::empty(), "", why)),
        };
        let bind = words.contains(&"bind") || options.recursive_bind;
        let mut flags = options.flags;
        if bind {
            flags |= MountFlags::BIND;
        }
        if options.recursive_bind {
            flags |= MountFlags::REC;
        }
        let failed = |error: Errno| self.error(at, flags, &options.data, explain(error));
        if bind {
            bind_below(&self.source, at, options.recursive_bind)
        } else {
            CString::new(options.data.as_str())
                .map_err(|_| Errno::INVAL)
                .and_then(|data| {
                    let data = (!options.data.is_empty()).then_some(data.as_c_str());
                    rustix::mount::mount(&self.source, at, &self.kind, flags, data)
                })
        }
        .map_err(failed)?;
        self.finish(at, bind, &options).map_err(|error| {
            // Half of what was asked for is nothing.
            let _ = unmount(at);
            failed(error)
        })
    }

    fn finish(&self, at: &Path, bind: bool, options: &Options) -> Result<(), Errno> {
        let plain = options.flags.difference(MountFlags::BIND | MountFlags::REC);
        let mounted = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if bind && !plain.is_empty() {
            let kept = rootfs::current_flags(&mounted)?;
            rustix::mount::mount_remount(at, MountFlags::BIND | kept | plain, c"")?;
        }
        for propagation in &options.propagation {
            rustix::mount::mount_change(at, *propagation)?;
        }
        if options.recursive_set != 0 || options.recursive_clear != 0 {
            let (set, clear) = (options.recursive_set, options.recursive_clear);
            sys::mount_setattr_recursive(mounted.as_fd(), set, clear)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        Ok(())
    }

    fn error(&self, at: &Path, flags: MountFlags, data: &str, why: String) -> MountError {
        MountError {
            source_name: self.source.clone(),
            target: at.display().to_string(),
            flags: match flags.bits() {
                0 => String::new(),
                bits => format!(", flags: 0x{bits:x}"),
            },
            data: match data {
                "" => String::new(),
                data => format!(", data: {}", without_password(data)),
            },
            why,
        }
    }
}

/// What is mounted below the source later comes to the copy as well, but nothing goes back: what is unmounted in a
/// peer of the source is unmounted for the host.
fn bind_below(source: &str, at: &Path, recursive: bool) -> Result<(), Errno> {
    let place = rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let tree = clone_tree(rustix::fs::CWD, Path::new(source), recursive)?;
    if is_directory(&tree)? != is_directory(&place)? {
        return Err(Errno::NOTDIR);
    }
    match sys::mount_setattr_slave(tree.as_fd()) {
        Ok(()) => attach(&tree, &place),
        // Before Linux 5.12 it must be mounted first.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            attach(&tree, &place)?;
            rustix::mount::mount_change(at, SLAVES).inspect_err(|_| {
                let _ = unmount(at);
            })
        }
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

const SLAVES: MountPropagationFlags =
    MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC);

fn explain(error: Errno) -> String {
    match error {
        Errno::NODEV => "no such device".into(),
        Errno::NOTBLK => "block device required".into(),
        Errno::BUSY => "device or resource busy".into(),
        Errno::CONNREFUSED => "connection refused".into(),
        error => words(error),
    }
}

/// Errors are shown and logged.
fn without_password(data: &str) -> String {
    let hidden = |option: &str| match option.split_once('=') {
        Some((name @ ("password" | "pass"), _)) => format!("{name}=********"),
        _ => option.to_owned(),
    };
    data.split(',').map(hidden).collect::<Vec<_>>().join(",")
}

/// Whether something is mounted at the path; at nothing, nothing is. Asks no server.
pub fn is_mounted(at: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(rustix::fs::CWD, at, flags, StatxFlags::TYPE) {
        Ok(stat) => Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        // Of a mount alone, such as one whose server has forgotten it.
        Err(Errno::STALE | Errno::IO | Errno::TIMEDOUT | Errno::HOSTDOWN | Errno::NOTCONN) => {
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// The places at and beneath a directory where something is mounted. Asks no server.
pub fn mounts_beneath(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(dir) = real(dir)? else {
        return Ok(Vec::new());
    };
    let mounts = mountinfo::read()?.into_iter().map(|mount| mount.at);
    Ok(mounts.filter(|at| at.starts_with(&dir)).collect())
}

/// The path as the kernel shows it, whose last part is not looked up: its server may not answer. None where
/// nothing is.
fn real(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Some(path.to_owned()));
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether what is unmounted at the path would be unmounted elsewhere, too.
fn has_peers(at: &Path) -> io::Result<bool> {
    let Some(at) = real(at)? else {
        return Ok(false);
    };
    let (inside, outside): (Vec<_>, Vec<_>) = mountinfo::read()?
        .into_iter()
        .partition(|mount| mount.at.starts_with(&at));
    let groups: HashSet<u64> = outside.iter().filter_map(|mount| mount.group).collect();
    Ok(inside
        .iter()
        .filter_map(|mount| mount.group)
        .any(|group| groups.contains(&group)))
}

/// Takes away all that is mounted at the path itself, with all beneath; nothing there is as good. Whoever is in it
/// still, is so until he leaves. What was bound there stays as it is at its source. Blocks.
pub fn unmount(at: &Path) -> io::Result<()> {
    for _ in 0..MOST_LAYERS {
        if !is_mounted(at)? {
            return Ok(());
        }
        if has_peers(at)? {
            match rustix::mount::mount_change(at, SLAVES) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Somebody else was faster.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match is_mounted(at)? {
        false => Ok(()),
        true => Err(Errno::BUSY.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_is_mounted_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("at");
        assert!(!is_mounted(&at).unwrap());
        unmount(&at).unwrap();
        std::fs::create_dir(&at).unwrap();
        let tmpfs = Filesystem {
            source: "tmpfs".into(),
            kind: "tmpfs".into(),
            options: "size=1m,uid=7,noexec,private".into(),
        };
        tmpfs.mount(&at).unwrap();
        tmpfs.mount(&at).unwrap();
        assert!(is_mounted(&at).unwrap());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts
            .lines()
            .find(|l| l.contains(at.to_str().unwrap()))
            .unwrap();
        assert!(line.contains("noexec") && line.contains("uid=7"), "{line}");
        unmount(&at).unwrap();
        assert!(!is_mounted(&at).unwrap());

        std::fs::write(dir.path().join("mark"), "").unwrap();
        let bind = Filesystem {
            source: dir.path().display().to_string(),
            kind: "none".into(),
            options: "bind,ro".into(),
        };
        bind.mount(&at).unwrap();
        assert!(at.join("mark").exists());
        assert!(std::fs::write(at.join("mark"), "x").is_err());
        unmount(&at).unwrap();
        assert!(!at.join("mark").exists());
    }

    /// A directory that is a shared mount of its own, which is gone with the test.
    struct Shared(PathBuf);

    impl Shared {
        fn at(dir: &Path) -> Shared {
            std::fs::create_dir_all(dir).unwrap();
            rustix::mount::mount_bind(dir, dir).unwrap();
            let kind = |kind| rustix::mount::mount_change(dir, kind).unwrap();
            kind(MountPropagationFlags::PRIVATE);
            kind(MountPropagationFlags::SHARED);
            Shared(dir.to_owned())
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
        }
    }

    #[test]
    fn what_the_host_has_mounted_below_a_source_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (source, at) = (dir.path().join("source"), dir.path().join("at"));
        let _shared = Shared::at(&source);
        let (early, late) = (source.join("early"), source.join("late"));
        for path in [&early, &late, &at] {
            std::fs::create_dir(path).unwrap();
        }
        let tmpfs = Filesystem {
            source: "tmpfs".into(),
            kind: "tmpfs".into(),
            options: "size=1m".into(),
        };
        tmpfs.mount(&early).unwrap();
        for options in ["bind", "rbind,ro", "rbind,rshared"] {
            let bind = Filesystem {
                source: source.display().to_string(),
                kind: "none".into(),
                options: options.into(),
            };
            bind.mount(&at).unwrap();
            tmpfs.mount(&late).unwrap();
            let beneath = mounts_beneath(&at).unwrap();
            assert!(beneath.contains(&at.join("late")), "{options}: {beneath:?}");
            unmount(&at).unwrap();
            assert_eq!(mounts_beneath(&at).unwrap(), Vec::<PathBuf>::new());
            assert!(is_mounted(&early).unwrap(), "{options}");
            assert!(is_mounted(&late).unwrap(), "{options}");
            unmount(&late).unwrap();
        }
        // As an earlier version has mounted it.
        rustix::mount::mount_bind_recursive(&source, &at).unwrap();
        unmount(&at).unwrap();
        assert!(is_mounted(&early).unwrap());
    }

    #[test]
    fn what_fails_is_said_without_passwords() {
        let nothing = Filesystem {
            source: "/dev/no-such-disk".into(),
            kind: "ext4".into(),
            options: "ro,user=me,password=secret".into(),
        };
        assert_eq!(
            nothing
                .mount(Path::new("/dev/no-such-place"))
                .unwrap_err()
                .to_string(),
            "mount /dev/no-such-disk:/dev/no-such-place, flags: 0x1, data: user=me,password=********: no such file or directory"
        );
    }
}
