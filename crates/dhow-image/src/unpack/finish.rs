//! What a layer leaves to be done once the layers below it are there.
//!
//! A directory that the layer does not describe takes its attributes from below, for overlayfs shows
//! those of the topmost. A hard link to a file below brings that file up into this layer. Directories
//! get their times last of all, for everything made in them has changed those.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dhow_archive::Attributes;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::memory;
use super::path::RelPath;
use super::tree::{Tree, open_readable, proc_path};
use super::{DIRECTORY, io_error, set_attributes};
use crate::error::{ImageError, Result};
use crate::layered::Layers;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// Bytes of memory that all this takes, and may take.
    bytes: u64,
    limit: u64,
    implied: Vec<RelPath>,
    /// Path and target.
    links: Vec<(RelPath, RelPath)>,
    directories: Vec<(RelPath, Timespec)>,
}

impl Unfinished {
    pub fn new(limit: u64) -> Unfinished {
        Unfinished {
            bytes: 0,
            limit,
            implied: Vec::new(),
            links: Vec::new(),
            directories: Vec::new(),
        }
    }

    /// Refuses a layer that needs too much memory; `more` bytes are taken elsewhere.
    pub fn check(&self, more: u64) -> Result<()> {
        memory::check(self.bytes + more, self.limit)
    }

    pub fn set_implied(&mut self, implied: Vec<RelPath>) {
        self.bytes += implied.iter().map(memory::of).sum::<u64>();
        self.implied = implied;
    }

    pub fn link(&mut self, path: RelPath, target: RelPath) {
        self.bytes += memory::of(&path) + memory::of(&target);
        self.links.push((path, target));
    }

    pub fn directory(&mut self, path: RelPath, modified: Timespec) {
        self.bytes += memory::of(&path);
        self.directories.push((path, modified));
    }

    /// Does it. `below` are the trees of the layers below, topmost first.
    pub fn finish(self, root: &Path, below: &[PathBuf]) -> Result<()> {
        let below = Layers::open(below).map_err(io_error)?;
        let mut tree = Tree::open(root)?;
        for (path, target) in &self.links {
            link_to_below(root, &mut tree, &below, path, target)?;
            self.check(tree.implied_bytes())?;
        }
        let root = rustix::fs::openat(CWD, root, DIRECTORY, Mode::empty()).map_err(io_error)?;
        let more = tree.take_implied();
        let more = more.iter().filter(|p| !p.is_root());
        for path in self.implied.iter().chain(more) {
            if let Some(original) = below.find(path.as_path()).map_err(io_error)? {
                let copy = open_readable(&root, path).map_err(io_error)?;
                let attributes = read_attributes(&original).map_err(io_error)?;
                set_attributes(&copy, &attributes).map_err(io_error)?;
            }
        }
        for (path, modified) in self.directories.iter().rev() {
            let directory = match open_readable(&root, path) {
                Ok(fd) => fd,
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(e) => return Err(io_error(e)),
            };
            let times = Timestamps {
                last_access: *modified,
                last_modification: *modified,
            };
            rustix::fs::futimens(&directory, &times).map_err(io_error)?;
        }
        Ok(())
    }
}

fn link_to_below(
    root: &Path,
    tree: &mut Tree,
    below: &Layers,
    path: &RelPath,
    target: &RelPath,
) -> Result<()> {
    let missing = || {
        ImageError::Layer(format!(
            "its hard link {path} has the target {target}, which is in no layer"
        ))
    };
    let (Some((parent, name)), Some((target_parent, target_name))) = (path.split(), target.split())
    else {
        return Err(missing());
    };
    // An earlier link may have brought it up, or a later entry made it.
    if tree.hard_link(&parent, name, target)? {
        return Ok(());
    }
    let original = below
        .find(target.as_path())
        .map_err(io_error)?
        .ok_or_else(missing)?;
    let attributes = read_attributes(&original).map_err(io_error)?;
    let stat = rustix::fs::fstat(&original).map_err(io_error)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let mut from = File::open(proc_path(original.as_fd())).map_err(io_error)?;
            let mut to = tree.file(&target_parent, target_name)?;
            io::copy(&mut from, &mut to).map_err(io_error)?;
            set_attributes(&to, &attributes).map_err(io_error)?;
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(&original, "", Vec::new()).map_err(io_error)?;
            tree.symlink(&target_parent, target_name, link.as_bytes(), &attributes)?;
        }
        _ => {
            return Err(ImageError::Layer(format!(
                "its hard link {path} has the target {target}, which is not a file"
            )));
        }
    }
    if !tree.hard_link(&parent, name, target)? {
        return Err(ImageError::Layer(format!(
            "its hard link {path} has a target that is not in {}",
            root.display()
        )));
    }
    Ok(())
}

/// The attributes of what an `O_PATH` descriptor is open on.
fn read_attributes(fd: &OwnedFd) -> io::Result<Attributes> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW)?;
    let time = |tv_sec: i64, tv_nsec: i64| Timespec { tv_sec, tv_nsec };
    let mut xattrs = Vec::new();
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if !is_link {
        let path = proc_path(fd.as_fd());
        let mut names = vec![0; 64 << 10];
        let length = match rustix::fs::listxattr(&path, &mut names) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(e) => return Err(e.into()),
        };
        for name in names[..length].split(|b| *b == 0) {
            if name.is_empty() || name.starts_with(b"trusted.overlay.") {
                continue;
            }
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::getxattr(&path, OsStr::from_bytes(name), &mut value)?;
            value.truncate(length);
            if let Ok(name) = CString::new(name) {
                xattrs.push((name, value));
            }
        }
    }
    Ok(Attributes {
        uid: Uid::from_raw(stat.st_uid),
        gid: Gid::from_raw(stat.st_gid),
        mode: stat.st_mode & 0o7777,
        modified: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        accessed: time(stat.st_atime as i64, stat.st_atime_nsec as i64),
        xattrs,
    })
}
