//! An archive put in place among files that are there already, as tar(1) does it, and as Docker's `cp` wants it:
//! what has the name of an entry is replaced, directories are merged.
//!
//! The files may be somebody else's, who changes them meanwhile. Directories on the way are resolved beneath the
//! root, one by one; what an entry names in its directory is never followed: it is removed and made anew, or
//! looked at by its descriptor first.

mod attributes;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::EntryType;

use crate::copy::CHUNK;
use crate::entry::{Attributes, Entries, Member};
use crate::error::{ArchiveError, Of, Result};
use crate::root::{Root, is, look_in, path_in};
use crate::words::{Rename, beneath};

/// Bytes of one entry's headers: long names and extended attributes.
const HEADERS_MAX: u64 = 1 << 20;
/// Bytes of directories' paths that are kept until the archive's end, when their times are set.
const DIRECTORIES_MAX: usize = 32 << 20;

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// As the archive says.
    Archive,
    Fixed {
        uid: u32,
        gid: u32,
    },
    /// This process's own: nothing is changed.
    Own,
}

/// Where an archive goes, and how.
pub struct Placement<'a> {
    pub root: &'a Root,
    /// The directory, from the root and without links.
    pub at: &'a Path,
    pub owner: Owner,
    /// Whether a file may take the place of a directory, and a directory that of a file.
    pub overwrite: bool,
    /// Other names for what is in the archive, one after another.
    pub renames: &'a [Rename],
}

/// Puts what is in an archive in place. What was put there stays when a later entry fails.
pub fn place(from: &mut dyn Read, placement: &Placement<'_>) -> Result<()> {
    let mut placer = Placer {
        to: placement,
        last: None,
        directories: Vec::new(),
        directory_bytes: 0,
        buffer: vec![0; CHUNK],
    };
    Entries::new(from, HEADERS_MAX).for_each(|member| placer.member(member))?;
    placer.settle_directories();
    Ok(())
}

struct Placer<'a> {
    to: &'a Placement<'a>,
    /// The directory of the last entry.
    last: Option<(PathBuf, OwnedFd)>,
    directories: Vec<(PathBuf, Attributes)>,
    directory_bytes: usize,
    buffer: Vec<u8>,
}

impl Placer<'_> {
    fn member<R: Read>(&mut self, mut member: Member<'_, '_, R>) -> Result<()> {
        for rename in self.to.renames {
            member.path = rename.apply(std::mem::take(&mut member.path));
            if member.kind == EntryType::Link {
                member.link = rename.apply(std::mem::take(&mut member.link));
            }
        }
        let name = self.beneath(&member.path, "name")?;
        if name.is_empty() {
            // Itself stays as it is.
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&name).into_owned();
        let path = self.to.at.join(OsStr::from_bytes(&name));
        let (Some(above), Some(file)) = (path.parent(), path.file_name()) else {
            return Ok(());
        };
        let dir = self.directory(above, &shown)?;
        self.clear(&dir, file, member.kind, &shown)?;
        self.make(&dir, file, &path, &mut member, &shown)
    }

    fn beneath(&self, raw: &[u8], what: &str) -> Result<Vec<u8>> {
        beneath(raw).ok_or_else(|| {
            ArchiveError::Malformed(format!(
                "invalid entry {what} {:?}: it leads out of {}",
                String::from_utf8_lossy(raw),
                self.to.at.display()
            ))
        })
    }

    fn directory(&mut self, path: &Path, shown: &str) -> Result<OwnedFd> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return fd.try_clone().of(|| format!("placing {shown}"));
        }
        let fd = self
            .to
            .root
            .directory(path)
            .of(|| format!("mkdir {}", path.display()))?;
        let kept = fd.try_clone().of(|| format!("placing {shown}"))?;
        self.last = Some((path.to_owned(), kept));
        Ok(fd)
    }

    /// Makes way for an entry, unless both are directories.
    fn clear(&mut self, dir: &OwnedFd, file: &OsStr, kind: EntryType, shown: &str) -> Result<()> {
        let stat = match rustix::fs::statat(dir, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e).of(|| format!("lstat {shown}")),
        };
        let directory = kind == EntryType::Directory;
        let at = self.to.at.display();
        match (is(&stat, FileType::Directory), directory) {
            (true, true) => Ok(()),
            (true, false) if !self.to.overwrite => Err(ArchiveError::Conflict(format!(
                "cannot overwrite directory {shown:?} with non-directory \"{at}\""
            ))),
            (false, true) if !self.to.overwrite => Err(ArchiveError::Conflict(format!(
                "cannot overwrite non-directory {shown:?} with directory \"{at}\""
            ))),
            (true, false) => {
                self.last = None;
                // It follows no link, and the name is no longer one when it comes to it.
                std::fs::remove_dir_all(path_in(dir, file)).of(|| format!("unlinkat {shown}"))
            }
            (false, _) => match rustix::fs::unlinkat(dir, file, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                // Something is mounted on it, as on a container's /etc/hosts: its contents are replaced.
                Err(Errno::BUSY) if is_plain(kind) && is(&stat, FileType::RegularFile) => Ok(()),
                Err(e) => Err(e).of(|| format!("unlinkat {shown}")),
            },
        }
    }

    fn make<R: Read>(
        &mut self,
        dir: &OwnedFd,
        file: &OsStr,
        path: &Path,
        member: &mut Member<'_, '_, R>,
        shown: &str,
    ) -> Result<()> {
        match member.kind {
            EntryType::Directory => {
                match rustix::fs::mkdirat(dir, file, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e).of(|| format!("mkdir {shown}")),
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(dir, file, flags, Mode::empty())
                    .of(|| format!("open {shown}"))?;
                attributes::set(&made, &member.attributes, self.to.owner)
                    .of(|| format!("placing {shown}"))?;
                self.remember(path, &member.attributes);
                Ok(())
            }
            kind if is_plain(kind) => {
                let to = self.create(dir, file).of(|| format!("open {shown}"))?;
                member
                    .write_lightly(&to, &mut self.buffer)
                    .map_err(|e| named(e, shown))?;
                attributes::set(&to, &member.attributes, self.to.owner)
                    .of(|| format!("placing {shown}"))
            }
            EntryType::Symlink => {
                rustix::fs::symlinkat(OsStr::from_bytes(&member.link), dir, file)
                    .of(|| format!("symlink {shown}"))?;
                self.set_at(dir, file, &member.attributes, shown)
            }
            EntryType::Link => self.link(dir, file, member, shown),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let (kind, device) = match member.kind {
                    EntryType::Char => (FileType::CharacterDevice, member.device),
                    EntryType::Block => (FileType::BlockDevice, member.device),
                    _ => (FileType::Fifo, (0, 0)),
                };
                let device = rustix::fs::makedev(device.0, device.1);
                rustix::fs::mknodat(dir, file, kind, Mode::from_raw_mode(0o600), device)
                    .of(|| format!("mknod {shown}"))?;
                self.set_at(dir, file, &member.attributes, shown)
            }
            other => Err(ArchiveError::Malformed(format!(
                "unhandled tar header type {}: it is that of {shown}",
                other.as_byte()
            ))),
        }
    }

    /// A new file, or an emptied one where something is mounted on it.
    fn create(&self, dir: &OwnedFd, file: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = flags | OFlags::CREATE | OFlags::EXCL;
        match rustix::fs::openat(dir, file, new, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => {
                let found = look_in(dir, file)?;
                let stat: Stat = rustix::fs::fstat(&found)?;
                if !is(&stat, FileType::RegularFile) {
                    return Err(Errno::EXIST.into());
                }
                let opened = self
                    .to
                    .root
                    .reopen(&found, OFlags::WRONLY | OFlags::TRUNC)?;
                Ok(opened.into())
            }
            opened => Ok(opened?.into()),
        }
    }

    fn link<R: Read>(
        &mut self,
        dir: &OwnedFd,
        file: &OsStr,
        member: &Member<'_, '_, R>,
        shown: &str,
    ) -> Result<()> {
        let target = self.beneath(&member.link, "link")?;
        let path = self.to.at.join(OsStr::from_bytes(&target));
        let (Some(above), Some(name), false) = (path.parent(), path.file_name(), target.is_empty())
        else {
            return Err(ArchiveError::Malformed(format!(
                "invalid hardlink target {:?}",
                String::from_utf8_lossy(&member.link)
            )));
        };
        let from = self
            .to
            .root
            .open(above, OFlags::PATH | OFlags::DIRECTORY)
            .of(|| format!("link {shown}"))?;
        rustix::fs::linkat(&from, name, dir, file, AtFlags::empty())
            .of(|| format!("link {shown}"))?;
        self.set_at(dir, file, &member.attributes, shown)
    }

    fn set_at(
        &self,
        dir: &OwnedFd,
        file: &OsStr,
        attributes: &Attributes,
        shown: &str,
    ) -> Result<()> {
        attributes::set_at(self.to.root, dir, file, attributes, self.to.owner)
            .of(|| format!("placing {shown}"))
    }

    /// A directory's times are set when nothing is put into it any more.
    fn remember(&mut self, path: &Path, attributes: &Attributes) {
        self.directory_bytes += path.as_os_str().len() + size_of::<Attributes>();
        let times = Attributes {
            xattrs: Vec::new(),
            ..attributes.clone()
        };
        self.directories.push((path.to_owned(), times));
        if self.directory_bytes > DIRECTORIES_MAX {
            self.settle_directories();
        }
    }

    fn settle_directories(&mut self) {
        self.directory_bytes = 0;
        for (path, attributes) in self.directories.drain(..).rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let set = self
                .to
                .root
                .open(&path, flags)
                .and_then(|dir| rustix::fs::futimens(dir, &attributes.times()));
            if let Err(error) = set {
                // Another entry, or somebody else, has replaced it.
                tracing::debug!(path = %path.display(), %error, "a directory's times are not set");
            }
        }
    }
}

fn is_plain(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse
    )
}

/// Says which file could not be written; what comes from the archive says so itself.
fn named(error: ArchiveError, shown: &str) -> ArchiveError {
    match error {
        ArchiveError::Copy(source) if source.raw_os_error().is_some() => ArchiveError::File {
            what: format!("write {shown}"),
            source,
        },
        ArchiveError::Copy(source) => ArchiveError::read(source),
        other => other,
    }
}

#[cfg(test)]
mod tests;
