//! Owner, extended attributes, mode and times of what was put in place, in the order in which one does not undo
//! the other: changing the owner clears set-id bits and capabilities.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::Owner;
use crate::entry::Attributes;
use crate::root::{Root, is, look_in, path_in};

impl Owner {
    fn of(self, attributes: &Attributes) -> Option<(Uid, Gid)> {
        match self {
            Owner::Archive => Some((attributes.uid, attributes.gid)),
            Owner::Fixed { uid, gid } => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
            Owner::Own => None,
        }
    }
}

/// Of a file or directory that is open.
pub(super) fn set(file: &impl AsFd, attributes: &Attributes, owner: Owner) -> io::Result<()> {
    if let Some((uid, gid)) = owner.of(attributes) {
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    for (name, value) in &attributes.xattrs {
        let set = rustix::fs::fsetxattr(file, name.as_c_str(), value, XattrFlags::empty());
        tolerate(name, set)?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))?;
    rustix::fs::futimens(file, &attributes.times())?;
    Ok(())
}

/// Of a link, a device, or another name of a file, which are not opened.
pub(super) fn set_at(
    root: &Root,
    dir: &OwnedFd,
    file: &OsStr,
    attributes: &Attributes,
    owner: Owner,
) -> io::Result<()> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    if let Some((uid, gid)) = owner.of(attributes) {
        rustix::fs::chownat(dir, file, Some(uid), Some(gid), nofollow)?;
    }
    for (name, value) in &attributes.xattrs {
        let path = path_in(dir, file);
        let set = rustix::fs::lsetxattr(path, name.as_c_str(), value, XattrFlags::empty());
        tolerate(name, set)?;
    }
    let found = look_in(dir, file)?;
    if !is(&rustix::fs::fstat(&found)?, FileType::Symlink) {
        root.set_mode(&found, Mode::from_raw_mode(attributes.mode))?;
    }
    rustix::fs::utimensat(dir, file, &attributes.times(), nofollow)?;
    Ok(())
}

/// A file system, or a user, that can't have an attribute does without, as on other engines.
fn tolerate(name: &CString, result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(e @ (Errno::NOTSUP | Errno::PERM)) => {
            tracing::debug!(xattr = ?name, error = %e, "an extended attribute was left out");
            Ok(())
        }
        other => other,
    }
}
