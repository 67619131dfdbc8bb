//! Writing an archive (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"): owners by number,
//! times to the nanosecond, extended attributes as other engines write them. The same tree makes the same archive.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dhow_archive::{CHUNK, Head, HeadWriter, Links, Times};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use tar::EntryType;

use super::walk::{Place, has_vanished};
use super::xattrs;
use crate::error::{Context, ImageError, Result};

const BLOCK: u64 = 512;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    out: W,
    heads: HeadWriter,
    entries: u64,
    links: Links,
    buffer: Vec<u8>,
}

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Archive<W> {
        Archive {
            out: to,
            heads: HeadWriter::new(Times::Nanoseconds),
            entries: 0,
            links: Links::default(),
            buffer: vec![0; CHUNK],
        }
    }

    /// Ends the archive, and returns how many entries it has.
    pub fn finish(mut self) -> Result<u64> {
        self.out
            .write_all(&[0; 2 * BLOCK as usize])
            .and_then(|()| self.out.flush())
            .map_err(writing)?;
        Ok(self.entries)
    }

    pub fn directory(&mut self, path: &Path, directory: &OwnedFd) -> Result<()> {
        let looking = || looking(path);
        let stat = fstat(directory).context(looking)?;
        let xattrs = xattrs::of(directory).context(looking)?;
        let mut name = path.as_os_str().as_bytes().to_vec();
        name.push(b'/');
        self.head(&Head {
            kind: EntryType::Directory,
            name: &name,
            link: &[],
            stat: Some(&stat),
            size: 0,
            xattrs: &xattrs,
        })
    }

    /// An empty file that stands for something else.
    pub fn marker(&mut self, path: &Path) -> Result<()> {
        self.head(&Head {
            kind: EntryType::Regular,
            name: path.as_os_str().as_bytes(),
            link: &[],
            stat: None,
            size: 0,
            xattrs: &[],
        })
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
        let link = match kind {
            EntryType::Symlink => match readlinkat(place.parent, place.name, Vec::new()) {
                Ok(target) => target.into_bytes(),
                // It became something that is no link.
                Err(e) if has_vanished(e) || e == rustix::io::Errno::INVAL => return Ok(()),
                Err(e) => return Err(e).context(looking),
            },
            _ => Vec::new(),
        };
        let xattrs = xattrs::at(place.parent, place.name).context(looking)?;
        self.head(&Head {
            kind,
            name: path.as_os_str().as_bytes(),
            link: &link,
            stat: Some(&stat),
            size: 0,
            xattrs: &xattrs,
        })
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
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.head(&Head {
            kind: EntryType::Regular,
            name: path.as_os_str().as_bytes(),
            link: &[],
            stat: Some(&stat),
            size,
            xattrs: &xattrs,
        })?;
        self.contents(File::from(fd), size, path)
    }

    /// Exactly as many bytes as the header says: what a file has grown by since is left out, and what it has shrunk
    /// by is zeros.
    fn contents(&mut self, mut file: File, size: u64, path: &Path) -> Result<()> {
        let out = &mut self.out;
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
        let name = path.as_os_str().as_bytes();
        let Some(first) = self.links.first_name(name, stat) else {
            return Ok(false);
        };
        self.head(&Head {
            kind: EntryType::Link,
            name,
            link: &first,
            stat: Some(stat),
            size: 0,
            xattrs: &[],
        })?;
        Ok(true)
    }

    fn head(&mut self, head: &Head<'_>) -> Result<()> {
        let head = self.heads.write(head).map_err(writing)?;
        self.out.write_all(head).map_err(writing)?;
        self.entries += 1;
        Ok(())
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
