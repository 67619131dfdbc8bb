//! The tree that a layer is unpacked into, and the only way to touch it: by paths that the kernel
//! resolves beneath the tree's root (openat2(2), `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`).
//!
//! A symbolic link among a path's directories is followed as a chroot would follow it, step by step and
//! by this code; one that leaves the root by `..` is refused.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dhow_archive::Attributes;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use super::implied::Implied;
use super::path::RelPath;
use super::{DIRECTORY, io_error, set_attributes};
use crate::error::{ImageError, Result};
use crate::layered::{LINKS_MAX, OPAQUE, is_whiteout};

/// Of directories that the layer does not describe, until the layers below tell better.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

pub(crate) struct Tree {
    root: OwnedFd,
    /// The directory of the entry before: most often it is this one's, too.
    last: Option<(RelPath, OwnedFd)>,
    /// Directories that were made because something is in them.
    implied: Implied,
}

impl Tree {
    pub fn open(root: &Path) -> Result<Tree> {
        let root = rustix::fs::openat(CWD, root, DIRECTORY, Mode::empty()).map_err(io_error)?;
        let mut implied = Implied::default();
        implied.insert(RelPath::default());
        Ok(Tree {
            root,
            last: None,
            implied,
        })
    }

    /// The directories that the layer does not describe, outermost first.
    pub fn take_implied(&mut self) -> Vec<RelPath> {
        self.implied.take()
    }

    /// Bytes of memory that the directories which the layer does not describe take.
    pub fn implied_bytes(&self) -> u64 {
        self.implied.bytes()
    }

    pub fn set_root(&mut self, attributes: &Attributes) -> Result<()> {
        self.implied.remove(&RelPath::default());
        let root = open_readable(&self.root, &RelPath::default()).map_err(io_error)?;
        set_attributes(&root, attributes).map_err(io_error)
    }

    pub fn directory(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        let (dir, at) = self.parent(parent)?;
        let made = make_directory(dir.as_fd(), name, Mode::from_raw_mode(0o700))?;
        if made == Made::Replaced {
            self.last = None;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = rustix::fs::openat(&dir, OsStr::from_bytes(name), flags, Mode::empty())
            .map_err(io_error)?;
        self.implied.remove(&at.join(name));
        set_attributes(&new, attributes).map_err(io_error)
    }

    /// Makes a new file, in place of whatever has its name.
    pub fn file(&mut self, parent: &RelPath, name: &[u8]) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let fd = self.make(parent, name, |dir, name| {
            rustix::fs::openat(dir, name, flags, mode)
        })?;
        Ok(File::from(fd))
    }

    pub fn symlink(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        let target = OsStr::from_bytes(target);
        self.make(parent, name, |dir, name| {
            rustix::fs::symlinkat(target, dir, name)
        })?;
        self.set_attributes_at(parent, name, attributes, false)
    }

    pub fn node(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        kind: EntryType,
        (major, minor): (u32, u32),
        attributes: &Attributes,
    ) -> Result<()> {
        let kind = match kind {
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rustix::fs::makedev(major, minor);
        self.make(parent, name, |dir, name| {
            rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device)
        })?;
        self.set_attributes_at(parent, name, attributes, true)
    }

    /// Links to a file of this layer; false if the layer has none at `target`.
    pub fn hard_link(&mut self, parent: &RelPath, name: &[u8], target: &RelPath) -> Result<bool> {
        let Some((target_parent, target_name)) = target.split() else {
            return Err(ImageError::Layer("a hard link to its root".into()));
        };
        let Some(target_parent) = self.existing(&target_parent)? else {
            return Ok(false);
        };
        let target_name = OsStr::from_bytes(target_name);
        match rustix::fs::statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(io_error(e)),
            Ok(stat) if is_whiteout(&stat) => {
                return Err(ImageError::Layer(format!(
                    "a hard link to {target}, which it removes"
                )));
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(ImageError::Layer(format!(
                    "a hard link to {target}, which is a directory"
                )));
            }
            Ok(_) => {}
        }
        let (dir, _) = self.parent(parent)?;
        let own = OsStr::from_bytes(name);
        let link = || rustix::fs::linkat(&target_parent, target_name, &dir, own, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                let same =
                    rustix::fs::statat(&target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW)
                        .and_then(|t| {
                            let own = rustix::fs::statat(&dir, own, AtFlags::SYMLINK_NOFOLLOW)?;
                            Ok((t.st_dev, t.st_ino) == (own.st_dev, own.st_ino))
                        })
                        .map_err(io_error)?;
                if !same {
                    remove_at(dir.as_fd(), name).map_err(io_error)?;
                    self.last = None;
                    link().map_err(io_error)?;
                }
            }
            r => r.map_err(io_error)?,
        }
        Ok(true)
    }

    pub fn set_opaque(&mut self, path: &RelPath) -> Result<()> {
        let (dir, _) = self.parent(path)?;
        make_opaque(dir.as_fd()).map_err(io_error)
    }

    /// Hides what the layers below have under this name, and nothing of this layer.
    pub fn whiteout(&mut self, parent: &RelPath, name: &[u8]) -> Result<()> {
        let (dir, _) = self.parent(parent)?;
        let file = OsStr::from_bytes(name);
        let mode = Mode::empty();
        match rustix::fs::mknodat(&dir, file, FileType::CharacterDevice, mode, 0) {
            Err(Errno::EXIST) => {
                let flags = DIRECTORY | OFlags::NOFOLLOW;
                match rustix::fs::openat(&dir, file, flags, Mode::empty()) {
                    Ok(existing) => make_opaque(existing.as_fd()).map_err(io_error),
                    Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(e) => Err(io_error(e)),
                }
            }
            r => r.map_err(io_error),
        }
    }

    /// Makes something that has to be new, in place of whatever has its name.
    fn make<T>(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        how: impl Fn(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let (dir, at) = self.parent(parent)?;
        let file = OsStr::from_bytes(name);
        match how(dir.as_fd(), file) {
            Err(Errno::EXIST) => {
                remove_at(dir.as_fd(), name).map_err(io_error)?;
                let gone = at.join(name);
                self.forget(&gone);
                how(dir.as_fd(), file).map_err(io_error)
            }
            r => r.map_err(io_error),
        }
    }

    /// Drops what is remembered of a directory that was removed.
    fn forget(&mut self, gone: &RelPath) {
        self.last = None;
        self.implied.remove_all(gone);
    }

    /// Sets the attributes of what can't be opened.
    fn set_attributes_at(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        attributes: &Attributes,
        mode: bool,
    ) -> Result<()> {
        let (dir, _) = self.parent(parent)?;
        set_attributes_at(dir.as_fd(), name, attributes, mode).map_err(io_error)
    }

    /// The directory `path`, made if it is not there, and where it is once links are followed.
    fn parent(&mut self, path: &RelPath) -> Result<(OwnedFd, RelPath)> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(io_error)?;
            return Ok((fd, path.clone()));
        }
        match open_beneath(&self.root, path, DIRECTORY) {
            Ok(fd) => {
                let keep = rustix::io::fcntl_dupfd_cloexec(&fd, 0).map_err(io_error)?;
                self.last = Some((path.clone(), keep));
                Ok((fd, path.clone()))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self
                .walk(path, true)?
                .ok_or_else(|| io_error(io::Error::from(io::ErrorKind::NotFound))),
            Err(e) => Err(io_error(e)),
        }
    }

    /// The directory `path`, if it is there.
    fn existing(&mut self, path: &RelPath) -> Result<Option<OwnedFd>> {
        match open_beneath(&self.root, path, DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Ok(self.walk(path, false)?.map(|(fd, _)| fd)),
            Err(e) => Err(io_error(e)),
        }
    }

    /// Goes to a directory as a chroot would, following links and, if so told, making what is missing.
    fn walk(&mut self, path: &RelPath, make: bool) -> Result<Option<(OwnedFd, RelPath)>> {
        let mut here = RelPath::default();
        let mut ahead: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                here = match here.split() {
                    Some((parent, _)) => parent,
                    None => {
                        return Err(ImageError::Layer(format!(
                            "a symbolic link on the way to {path} leads out of the root"
                        )));
                    }
                };
                continue;
            }
            let dir = open_beneath(&self.root, &here, DIRECTORY).map_err(io_error)?;
            let file = OsStr::from_bytes(&name);
            let kind = match rustix::fs::statat(&dir, file, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) && make => None,
                Ok(stat) if is_whiteout(&stat) => {
                    return Err(ImageError::Layer(format!(
                        "a hard link into {path}, which it removes"
                    )));
                }
                Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
                Err(Errno::NOENT) => None,
                Err(e) => return Err(io_error(e)),
            };
            match kind {
                Some(FileType::Directory) => here = here.join(&name),
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(ImageError::Layer(format!(
                            "too many symbolic links on the way to {path}"
                        )));
                    }
                    let target =
                        rustix::fs::readlinkat(&dir, file, Vec::new()).map_err(io_error)?;
                    let target = target.as_bytes();
                    if target.starts_with(b"/") {
                        here = RelPath::default();
                    }
                    let components = target.split(|b| *b == b'/');
                    ahead.extend(
                        components
                            .filter(|c| !matches!(*c, b"" | b"."))
                            .map(<[u8]>::to_vec)
                            .collect::<Vec<_>>()
                            .into_iter()
                            .rev(),
                    );
                }
                Some(_) => return Err(io_error(Errno::NOTDIR)),
                None if !make => return Ok(None),
                None => {
                    make_directory(dir.as_fd(), &name, IMPLIED_MODE)?;
                    here = here.join(&name);
                    self.implied.insert(here.clone());
                }
            }
        }
        let fd = open_beneath(&self.root, &here, DIRECTORY).map_err(io_error)?;
        Ok(Some((fd, here)))
    }
}

pub(super) fn open_beneath(
    root: &impl AsFd,
    path: &RelPath,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(root, path.as_path(), flags, Mode::empty(), BENEATH)
}

/// Opens a directory so that its attributes can be set.
pub(super) fn open_readable(root: &impl AsFd, path: &RelPath) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open_beneath(root, path, flags)
}

#[derive(PartialEq, Eq)]
enum Made {
    New,
    Kept,
    Replaced,
}

/// Makes a directory, keeps one that is there, and replaces anything else. One in place of a whiteout is
/// opaque, for what the whiteout hid stays hidden.
fn make_directory(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<Made> {
    let file = OsStr::from_bytes(name);
    match rustix::fs::mkdirat(dir, file, mode) {
        Ok(()) => return Ok(Made::New),
        Err(Errno::EXIST) => {}
        Err(e) => return Err(io_error(e)),
    }
    let stat = rustix::fs::statat(dir, file, AtFlags::SYMLINK_NOFOLLOW).map_err(io_error)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(Made::Kept);
    }
    rustix::fs::unlinkat(dir, file, AtFlags::empty()).map_err(io_error)?;
    rustix::fs::mkdirat(dir, file, mode).map_err(io_error)?;
    if is_whiteout(&stat) {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let new = rustix::fs::openat(dir, file, flags, Mode::empty()).map_err(io_error)?;
        make_opaque(new.as_fd()).map_err(io_error)?;
    }
    Ok(Made::Replaced)
}

fn make_opaque(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::setxattr(proc_path(dir), OPAQUE, b"y", XattrFlags::empty())?;
    Ok(())
}

/// A path to what a descriptor is open on, for calls that take no `O_PATH` descriptor.
pub(super) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Removes whatever has this name, with all that is in it.
fn remove_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let file = OsStr::from_bytes(name);
    match rustix::fs::unlinkat(dir, file, AtFlags::empty()) {
        Err(Errno::ISDIR) => {
            // The tree is nobody else's, and the name is no link: the path leads nowhere else.
            std::fs::remove_dir_all(Path::new(&proc_path(dir)).join(file))
        }
        r => Ok(r?),
    }
}

/// As [`set_attributes`], for a symbolic link or a node, by its name.
pub(super) fn set_attributes_at(
    dir: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
    mode: bool,
) -> io::Result<()> {
    let file = OsStr::from_bytes(name);
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(
        dir,
        file,
        Some(attributes.uid),
        Some(attributes.gid),
        nofollow,
    )?;
    if !attributes.xattrs.is_empty() {
        let path = Path::new(&proc_path(dir)).join(file);
        for (name, value) in &attributes.xattrs {
            let set = rustix::fs::lsetxattr(&path, name.as_c_str(), value, XattrFlags::empty());
            tolerate_unsupported(name, set)?;
        }
    }
    if mode {
        // Links have no mode of their own; this is none, so that nothing is followed.
        rustix::fs::chmodat(
            dir,
            file,
            Mode::from_raw_mode(attributes.mode),
            AtFlags::empty(),
        )?;
    }
    rustix::fs::utimensat(dir, file, &attributes.times(), nofollow)?;
    Ok(())
}

/// A file system or a kind of file that can't have an attribute does without, as on other engines.
pub(super) fn tolerate_unsupported(
    name: &CString,
    result: rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match result {
        Err(e @ (Errno::NOTSUP | Errno::PERM)) => {
            tracing::debug!(xattr = ?name, error = %e, "an extended attribute was left out");
            Ok(())
        }
        other => other,
    }
}
