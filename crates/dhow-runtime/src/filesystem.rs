//! Filesystems that containers share, mounted on the host for as long as one of them uses it: mount(2) and
//! umount2(2), with the options of mount(8). What is mounted in the daemon's namespace, every container that is
//! made later finds there.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::init::options::Options;
use crate::init::program::words;
use crate::init::rootfs;
use crate::sys;

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
            match options.recursive_bind {
                true => rustix::mount::mount_bind_recursive(&self.source, at),
                false => rustix::mount::mount_bind(&self.source, at),
            }
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

/// Takes away all that is mounted at the path itself; nothing there is as good. Whoever is in it still, is so
/// until he leaves. Blocks.
pub fn unmount(at: &Path) -> io::Result<()> {
    for _ in 0..MOST_LAYERS {
        if !is_mounted(at)? {
            return Ok(());
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
