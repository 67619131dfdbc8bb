//! Filling a new volume with what the image has at its place, as Docker does: contents, owners, modes,
//! times and extended attributes.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dhow_image::{LayeredRoot, Node, entries};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, mkdirat, mknodat, openat, readlinkat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;

/// Deeper trees than this are refused rather than walked.
const MAX_DEPTH: u32 = 512;

/// Copies what `root` has at `path` into the empty directory `volume`. Nothing there, or no directory: the
/// volume stays empty, and the answer is false. Blocks.
pub fn fill(root: &LayeredRoot, path: &Path, volume: &Path) -> std::io::Result<bool> {
    let Some(Node::Directory(parts)) = root.lookup(path)? else {
        return Ok(false);
    };
    let target = openat(
        rustix::fs::CWD,
        volume,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    copy_directory(&parts, &target, 0)?;
    Ok(true)
}

fn copy_directory(parts: &[OwnedFd], target: &OwnedFd, depth: u32) -> std::io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP.into());
    }
    for entry in entries(parts)? {
        let (name, node) = entry?;
        match node {
            Node::Directory(below) => {
                mkdirat(target, name.as_os_str(), Mode::from_raw_mode(0o700))?;
                let made = openat(
                    target,
                    name.as_os_str(),
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                copy_directory(&below, &made, depth + 1)?;
            }
            Node::Other { parent, name, kind } => copy_other(&parent, &name, kind, target)?,
        }
    }
    if let Some(top) = parts.first() {
        copy_attributes(top, target)?;
    }
    Ok(())
}

fn copy_other(
    parent: &OwnedFd,
    name: &OsStr,
    kind: FileType,
    target: &OwnedFd,
) -> std::io::Result<()> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match kind {
        FileType::RegularFile => {
            let from = openat(
                parent,
                name,
                OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK,
                Mode::empty(),
            )?;
            let to = openat(
                target,
                name,
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o600),
            )?;
            std::io::copy(
                &mut &File::from(from.try_clone()?),
                &mut &File::from(to.try_clone()?),
            )?;
            copy_attributes(&from, &to)?;
        }
        FileType::Symlink => {
            let link = readlinkat(parent, name, Vec::new())?;
            symlinkat(link, target, name)?;
            chownat(
                target,
                name,
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
            utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
            let mode = Mode::from_raw_mode(stat.st_mode as RawMode);
            mknodat(target, name, kind, mode, stat.st_rdev)?;
            chownat(
                target,
                name,
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
            utimensat(target, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        _ => {}
    }
    Ok(())
}

fn copy_attributes(from: impl AsFd, to: &OwnedFd) -> std::io::Result<()> {
    let stat = fstat(&from)?;
    fchown(
        to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    copy_xattrs(&from, to)?;
    // After the owner, whose change clears set-user-id.
    fchmod(to, Mode::from_raw_mode(stat.st_mode as RawMode))?;
    rustix::fs::futimens(to, &times(&stat))?;
    Ok(())
}

fn copy_xattrs(from: impl AsFd, to: &OwnedFd) -> std::io::Result<()> {
    let mut names = vec![0u8; 64 * 1024];
    let len = match flistxattr(&from, &mut names[..]) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let mut value = vec![0u8; 64 * 1024];
    for name in names[..len].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        // Overlayfs's own marks mean something in the layer only.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let size = fgetxattr(&from, name, &mut value[..])?;
        match fsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime as _,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_directory_takes_no_descriptor_for_each_name() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, volume) = (dir.path().join("layer"), dir.path().join("volume"));
        fs::create_dir_all(layer.join("data")).unwrap();
        fs::create_dir(&volume).unwrap();
        for n in 0..300 {
            fs::write(layer.join(format!("data/{n}")), "").unwrap();
        }
        let root = LayeredRoot::new(vec![layer]);
        let Some(Node::Directory(parts)) = root.lookup(Path::new("/data")).unwrap() else {
            panic!("a directory");
        };
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        let mut most = 0;
        for entry in entries(&parts).unwrap() {
            entry.unwrap();
            most = most.max(open());
        }
        assert!(most < before + 200, "{most} descriptors, {before} before");
    }

    #[test]
    fn contents_modes_links_and_owners_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, volume) = (dir.path().join("layer"), dir.path().join("volume"));
        fs::create_dir_all(layer.join("data/sub")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(layer.join("data/sub/x"), "x").unwrap();
        fs::set_permissions(layer.join("data/sub/x"), fs::Permissions::from_mode(0o4750)).unwrap();
        symlink("sub/x", layer.join("data/l")).unwrap();
        std::os::unix::fs::chown(layer.join("data"), Some(33), Some(44)).unwrap();
        let root = LayeredRoot::new(vec![layer.clone()]);
        assert!(fill(&root, Path::new("/data"), &volume).unwrap());
        assert_eq!(fs::read_to_string(volume.join("l")).unwrap(), "x");
        assert_eq!(
            fs::metadata(volume.join("sub/x")).unwrap().mode() & 0o7777,
            0o4750
        );
        assert_eq!(fs::metadata(&volume).unwrap().uid(), 33);
        assert!(!fill(&root, Path::new("/nothing"), &volume).unwrap());
    }
}
