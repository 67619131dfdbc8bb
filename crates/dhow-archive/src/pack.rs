//! Files made into an archive (POSIX.1-2017, pax, ustar with extended headers where they are needed).
//!
//! A directory's names are in order, as far as they can be held at once; owners are numbers; times are whole
//! seconds, and of extended attributes there are a file's capabilities: all as Docker has it. Sockets are left
//! out, for tar has none. What disappears while it is looked for is left out as well; a file that becomes shorter
//! while it is read ends the archive in an error.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use tar::EntryType;

use crate::error::{ArchiveError, Of, Result};
use crate::head::{Head, HeadWriter, Times, portable_capabilities};
use crate::links::Links;
use crate::pieces::Chunks;
use crate::root::{Root, look_in, read_link};

/// Deeper trees than this are refused: each level has a descriptor open.
const DEPTH_MAX: usize = 2048;
/// So many names of directories are in memory at most.
const NAMES_MAX: usize = 128 * 1024;
/// Of one directory at least this many are put in order.
const NAMES_AT_ONCE: usize = 256;
const BLOCK: u64 = 512;

/// Writes an archive of what is at `path`, a directory with all that is in it, under the name `name`; of the
/// root's own contents the name is empty. A path that ends in a slash is that of a directory, though a link lead
/// there.
pub fn pack(root: &Root, path: &Path, name: &[u8], to: Chunks<'_>) -> Result<()> {
    let mut packer = Packer {
        root,
        out: to,
        heads: HeadWriter::new(Times::Seconds),
        links: Links::default(),
        names: 0,
    };
    let found = root.look(path).of(|| format!("open {}", path.display()))?;
    packer.tree(found, name)?;
    packer.out.zeros(2 * BLOCK).map_err(ArchiveError::Write)?;
    packer.out.flush().map_err(ArchiveError::Write)
}

struct Packer<'a> {
    root: &'a Root,
    out: Chunks<'a>,
    heads: HeadWriter,
    links: Links,
    /// How many names all levels hold.
    names: usize,
}

/// A directory on the way down.
struct Level {
    dir: Dir,
    /// Its path in the archive is the first so many bytes.
    length: usize,
    /// Names to come, the next one last.
    names: Vec<Vec<u8>>,
    /// There are no further ones.
    whole: bool,
}

impl Packer<'_> {
    fn tree(&mut self, found: OwnedFd, name: &[u8]) -> Result<()> {
        let mut path = name.to_vec();
        let mut levels: Vec<Level> = Vec::new();
        levels.extend(self.member(found, &path)?);
        while let Some(level) = levels.last_mut() {
            path.truncate(level.length);
            if level.names.is_empty() && !level.whole {
                let room = NAMES_MAX.saturating_sub(self.names) / 2;
                level
                    .read(room.max(NAMES_AT_ONCE))
                    .of(|| format!("reading {}", shown(&path)))?;
                self.names += level.names.len();
            }
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            self.names -= 1;
            path.push(b'/');
            path.extend_from_slice(&name);
            let dir = level.dir.fd().of(|| format!("reading {}", shown(&path)))?;
            let found = match look_in(dir, OsStr::from_bytes(&name)) {
                Ok(found) => found,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e).of(|| format!("open {}", shown(&path))),
            };
            if let Some(below) = self.member(found, &path)? {
                if levels.len() == DEPTH_MAX {
                    return Err(ArchiveError::Conflict(format!(
                        "{} lies more than {DEPTH_MAX} directories deep",
                        shown(&path)
                    )));
                }
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Adds what was found; the answer is a directory to go on into.
    fn member(&mut self, found: OwnedFd, path: &[u8]) -> Result<Option<Level>> {
        let stat = rustix::fs::fstat(&found).of(|| format!("stat {}", shown(path)))?;
        let root = self.root;
        let open = |flags| match root.reopen(&found, flags) {
            // It was removed since.
            Err(Errno::NOENT | Errno::STALE) => Ok(None),
            opened => opened.map(Some).of(|| format!("open {}", shown(path))),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let Some(opened) = open(OFlags::RDONLY | OFlags::DIRECTORY)? else {
                    return Ok(None);
                };
                let mut name = path.to_vec();
                name.push(b'/');
                self.header(&name, &stat, EntryType::Directory, &[], &[])?;
                let dir = Dir::new(opened).of(|| format!("open {}", shown(path)))?;
                return Ok(Some(Level {
                    dir,
                    length: path.len(),
                    names: Vec::new(),
                    whole: false,
                }));
            }
            FileType::RegularFile => EntryType::Regular,
            FileType::Symlink => {
                let target = read_link(found).of(|| format!("readlink {}", shown(path)))?;
                if !self.linked(path, &stat)? {
                    self.header(path, &stat, EntryType::Symlink, &target, &[])?;
                }
                return Ok(None);
            }
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Fifo => EntryType::Fifo,
            _ => {
                tracing::debug!(path = %shown(path), "a socket is left out of an archive");
                return Ok(None);
            }
        };
        if kind != EntryType::Regular {
            if !self.linked(path, &stat)? {
                self.header(path, &stat, kind, &[], &[])?;
            }
            return Ok(None);
        }
        let Some(file) = open(OFlags::RDONLY)?.map(File::from) else {
            return Ok(None);
        };
        if self.linked(path, &stat)? {
            return Ok(None);
        }
        // As of now, not of when it was looked for.
        let stat = rustix::fs::fstat(&file).of(|| format!("stat {}", shown(path)))?;
        self.header(path, &stat, kind, &[], &capabilities(&file))?;
        self.contents(&file, &stat, path)?;
        Ok(None)
    }

    /// Writes a further name of a file that the archive has already; false if it is the first.
    fn linked(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        let Some(first) = self.links.first_name(path, stat) else {
            return Ok(false);
        };
        self.header(path, stat, EntryType::Link, &first, &[])?;
        Ok(true)
    }

    fn header(
        &mut self,
        name: &[u8],
        stat: &Stat,
        kind: EntryType,
        link: &[u8],
        xattrs: &[(String, Vec<u8>)],
    ) -> Result<()> {
        let head = Head {
            kind,
            name,
            link,
            stat: Some(stat),
            size: match kind {
                EntryType::Regular => stat.st_size as u64,
                _ => 0,
            },
            xattrs,
        };
        let head = self.heads.write(&head).map_err(ArchiveError::Write)?;
        self.out.write_all(head).map_err(ArchiveError::Write)
    }

    fn contents(&mut self, file: &File, stat: &Stat, path: &[u8]) -> Result<()> {
        let size = stat.st_size as u64;
        let sparse = (stat.st_blocks as u64).saturating_mul(512) < size;
        let mut at = 0;
        while at < size {
            let (data, end) = match sparse {
                true => data_from(file, at, size),
                false => (at, size),
            };
            self.out.zeros(data - at).map_err(ArchiveError::Write)?;
            self.copy(file, data, end, path)?;
            at = end;
        }
        let filled = size.next_multiple_of(BLOCK) - size;
        self.out.zeros(filled).map_err(ArchiveError::Write)
    }

    fn copy(&mut self, file: &File, mut at: u64, end: u64, path: &[u8]) -> Result<()> {
        while at < end {
            let room = self.out.room().map_err(ArchiveError::Write)?;
            let want = usize::try_from(end - at).unwrap_or(usize::MAX);
            let want = want.min(room.len());
            let n = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut room[..want], at))
                .of(|| format!("read {}", shown(path)))?;
            if n == 0 {
                return Err(ArchiveError::Conflict(format!(
                    "{} became shorter while it was read",
                    shown(path)
                )));
            }
            self.out.used(n);
            at += n as u64;
        }
        Ok(())
    }
}

/// Of extended attributes, those that Docker's archives have.
fn capabilities(file: &File) -> Vec<(String, Vec<u8>)> {
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, c"security.capability", &mut value[..]) {
        Ok(size) => vec![(
            "security.capability".to_owned(),
            portable_capabilities(value[..size].to_vec()),
        )],
        // It has none, or its file system has no attributes.
        Err(_) => Vec::new(),
    }
}

/// The next part of a sparse file that is no hole.
fn data_from(file: &File, at: u64, size: u64) -> (u64, u64) {
    let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => data.min(size),
        // No data any more.
        Err(Errno::NXIO) => return (size, size),
        // A file system that doesn't know.
        Err(_) => return (at, size),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(size);
    (data, end.clamp(data, size))
}

impl Level {
    /// Takes the next names, at most so many, and puts them in order.
    fn read(&mut self, most: usize) -> rustix::io::Result<()> {
        while self.names.len() < most {
            let Some(entry) = self.dir.read() else {
                self.whole = true;
                break;
            };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.names.push(name.to_vec());
            }
        }
        self.names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).trim_start_matches('/'))
}

#[cfg(test)]
mod tests;
