//! Writing an archive (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"): owners by number,
//! times to the nanosecond, extended attributes as other engines write them. The same tree makes the same archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use tar::EntryType;

use super::head::Head;
use super::walk::{Place, has_vanished};
use super::xattrs::{self, Xattrs};
use crate::error::{Context, ImageError, Result};

/// Read of a file at once.
const CHUNK: usize = 256 << 10;
const BLOCK: u64 = 512;
/// Bytes of names that are kept to know further names of the same file by. Beyond that a file with several names is
/// written as several.
const MOST_LINKED: usize = 64 << 20;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    builder: tar::Builder<W>,
    entries: u64,
    linked: Linked,
    buffer: Vec<u8>,
}

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Archive<W> {
        Archive {
            builder: tar::Builder::new(to),
            entries: 0,
            linked: Linked::default(),
            buffer: vec![0; CHUNK],
        }
    }

    /// Ends the archive, and returns how many entries it has.
    pub fn finish(mut self) -> Result<u64> {
        self.builder
            .finish()
            .and_then(|()| self.builder.get_mut().flush())
            .map_err(writing)?;
        Ok(self.entries)
    }

    pub fn directory(&mut self, path: &Path, directory: &OwnedFd) -> Result<()> {
        let looking = || looking(path);
        let stat = fstat(directory).context(looking)?;
        let xattrs = xattrs::of(directory).context(looking)?;
        let mut name = path.as_os_str().as_bytes().to_vec();
        name.push(b'/');
        self.head(Head::new(EntryType::Directory, name, &stat), xattrs)
    }

    /// An empty file that stands for something else.
    pub fn marker(&mut self, path: &Path) -> Result<()> {
        self.head(
            Head {
                kind: EntryType::Regular,
                name: path.as_os_str().as_bytes().to_vec(),
                link: Vec::new(),
                stat: None,
                size: 0,
            },
            Xattrs::new(),
        )
    }

    /// Anything but a directory. A socket is left out, as is what is not there any more.
    pub fn other(&mut self, path: &Path, place: Place<'_>) -> Result<()> {
        let looking = || looking(path);
        let stat = match statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(e) if has_vanished(e) => return Ok(()),
            Err(e) => return Err(e).context(looking),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(path, place),
            FileType::Symlink => EntryType::Symlink,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Fifo => EntryType::Fifo,
            _ => return Ok(()),
        };
        if self.link(path, &stat)? {
            return Ok(());
        }
        let mut head = Head::new(kind, path.as_os_str().as_bytes().to_vec(), &stat);
        if kind == EntryType::Symlink {
            head.link = match readlinkat(place.parent, place.name, Vec::new()) {
                Ok(target) => target.into_bytes(),
                // It became something that is no link.
                Err(e) if has_vanished(e) || e == rustix::io::Errno::INVAL => return Ok(()),
                Err(e) => return Err(e).context(looking),
            };
        }
        let xattrs = xattrs::at(place.parent, place.name).context(looking)?;
        self.head(head, xattrs)
    }

    fn file(&mut self, path: &Path, place: Place<'_>) -> Result<()> {
        let looking = || looking(path);
        // Never waits, though it may have become a pipe by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(place.parent, place.name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(e) if has_vanished(e) => return Ok(()),
            Err(e) => return Err(e).context(looking),
        };
        let stat = fstat(&fd).context(looking)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
            || self.link(path, &stat)?
        {
            return Ok(());
        }
        let xattrs = xattrs::of(&fd).context(looking)?;
        let mut head = Head::new(
            EntryType::Regular,
            path.as_os_str().as_bytes().to_vec(),
            &stat,
        );
        head.size = u64::try_from(stat.st_size).unwrap_or(0);
        let size = head.size;
        self.head(head, xattrs)?;
        self.contents(File::from(fd), size, path)
    }

    /// Exactly as many bytes as the header says: what a file has grown by since is left out, and what it has shrunk
    /// by is zeros.
    fn contents(&mut self, mut file: File, size: u64, path: &Path) -> Result<()> {
        let out = self.builder.get_mut();
        let mut left = size;
        let mut ended = false;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            let buffer = &mut self.buffer[..want];
            let n = match ended {
                true => {
                    buffer.fill(0);
                    want
                }
                false => match file.read(buffer) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e).context(|| format!("reading /{}", path.display())),
                },
            };
            ended |= n == 0;
            out.write_all(&buffer[..n]).map_err(writing)?;
            left -= n as u64;
        }
        let padding = (size.next_multiple_of(BLOCK) - size) as usize;
        out.write_all(&[0; BLOCK as usize][..padding])
            .map_err(writing)
    }

    /// Writes a further name of a file that is in the archive; false if it is not.
    fn link(&mut self, path: &Path, stat: &Stat) -> Result<bool> {
        let name = path.as_os_str();
        let Some(first) = self.linked.first_name(name, stat) else {
            return Ok(false);
        };
        let mut head = Head::new(EntryType::Link, name.as_bytes().to_vec(), stat);
        head.link = first;
        self.head(head, Xattrs::new())?;
        Ok(true)
    }

    fn head(&mut self, head: Head<'_>, xattrs: Xattrs) -> Result<()> {
        let (header, mut records) = head.header().map_err(writing)?;
        records.extend(
            xattrs
                .into_iter()
                .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value)),
        );
        let records = records.iter().map(|(k, v)| (k.as_str(), v.as_slice()));
        self.builder
            .append_pax_extensions(records)
            .and_then(|()| self.builder.append(&header, io::empty()))
            .map_err(writing)?;
        self.entries += 1;
        Ok(())
    }
}

/// The first names of files that have further ones.
#[derive(Default)]
struct Linked {
    /// By device and inode.
    files: HashMap<(u64, u64), (Vec<u8>, u32)>,
    bytes: usize,
}

impl Linked {
    /// The name under which a file is in the archive; `None` if it is not, and comes in under this one.
    fn first_name(&mut self, name: &OsStr, stat: &Stat) -> Option<Vec<u8>> {
        let links = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
        if links < 2 {
            return None;
        }
        let file = (stat.st_dev, stat.st_ino);
        if let Some((first, left)) = self.files.get_mut(&file) {
            *left -= 1;
            if *left > 0 {
                return Some(first.clone());
            }
            let (first, _) = self.files.remove(&file)?;
            self.bytes -= first.len();
            return Some(first);
        }
        if self.bytes + name.len() <= MOST_LINKED {
            self.bytes += name.len();
            self.files
                .insert(file, (name.as_bytes().to_vec(), links - 1));
        }
        None
    }
}

fn looking(path: &Path) -> String {
    format!("reading /{} of a container", path.display())
}

/// An error of where the archive goes.
fn writing(e: io::Error) -> ImageError {
    ImageError::carried(e).unwrap_or_else(|source| ImageError::Io {
        context: "writing an archive".into(),
        source,
    })
}
