//! Extended attributes, as far as they are a file's own: not overlayfs's notes on it, nor a label that its host's
//! security module gave it (xattr(7)).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

/// The longest list of names, and the longest value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;
/// Attributes that mean something to this mount, or to this machine.
const LEFT_OUT: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];
/// A file's contents or a directory's place are elsewhere. Containers' mounts turn both off.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.metacopy", b"trusted.overlay.redirect"];
const CAPABILITY: &[u8] = b"security.capability";

/// Names and values, sorted.
pub(crate) type Xattrs = Vec<(String, Vec<u8>)>;

/// Of what is open.
pub(crate) fn of(file: &OwnedFd) -> io::Result<Xattrs> {
    read(
        |buffer| flistxattr(file, buffer),
        |name, buffer| fgetxattr(file, name, buffer),
    )
}

/// Of what has this name, a link not followed.
pub(super) fn at(parent: &OwnedFd, name: &OsStr) -> io::Result<Xattrs> {
    // There is no call that takes a directory and a name.
    let path: PathBuf = Path::new(&format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
    read(
        |buffer| llistxattr(&path, buffer),
        |name, buffer| lgetxattr(&path, name, buffer),
    )
}

fn read(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Xattrs> {
    // Most files have none.
    let mut few = [0; 256];
    let mut many = Vec::new();
    let names = match list(&mut few) {
        Ok(length) => &few[..length],
        Err(Errno::RANGE) => {
            many.resize(LONGEST, 0);
            let length = list(&mut many)?;
            &many[..length]
        }
        Err(Errno::NOTSUP | Errno::NOENT) => &[],
        Err(e) => return Err(e.into()),
    };
    let mut found = Xattrs::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if ELSEWHERE.contains(&name) {
            return Err(io::Error::other(
                "it was changed through a mount with redirect_dir or metacopy, and can't be read without that",
            ));
        }
        let Ok(text) = std::str::from_utf8(name) else {
            continue;
        };
        if LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; LONGEST];
        match get(name, &mut value) {
            Ok(length) => value.truncate(length),
            // Taken away just now.
            Err(Errno::NODATA | Errno::NOENT) => continue,
            Err(e) => return Err(e.into()),
        }
        if name == CAPABILITY {
            value = dhow_archive::portable_capabilities(value);
        }
        value.shrink_to_fit();
        found.push((text.to_owned(), value));
    }
    found.sort();
    Ok(found)
}
