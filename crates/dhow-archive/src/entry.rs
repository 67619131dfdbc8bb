//! One entry of the archive, with all that its headers say.
//!
//! The tar library reads the archive. What it reads between two entries (their headers) passes through
//! [`Tap`], which bounds it, for the library would take any amount into memory, and keeps it, for the
//! library's own view of extended headers is not exact (see [`pax`]).

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

use rustix::fs::{Timespec, Timestamps};
use tar::{Archive, EntryType, Header};

use crate::copy;
use crate::error::{ArchiveError, Result};
use crate::pax::{self, Records};
use crate::sparse::{self, Map};

const BLOCK: u64 = 512;
const XATTR_KEY: &[u8] = b"SCHILY.xattr.";
/// Overlayfs's own notes on a lower directory. Taken from a layer they would redirect lookups.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Owner, mode, times and extended attributes.
#[derive(Clone, Debug)]
pub struct Attributes {
    pub uid: rustix::fs::Uid,
    pub gid: rustix::fs::Gid,
    pub mode: u32,
    pub modified: Timespec,
    pub accessed: Timespec,
    pub xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attributes {
    pub fn times(&self) -> Timestamps {
        Timestamps {
            last_access: self.accessed,
            last_modification: self.modified,
        }
    }
}

/// An entry that is to be unpacked.
pub struct Member<'m, 'a, R: Read> {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: EntryType,
    pub device: (u32, u32),
    pub attributes: Attributes,
    sparse: Option<Map>,
    entry: &'m mut tar::Entry<'a, Tap<R>>,
}

impl<R: Read> Member<'_, '_, R> {
    /// Bytes of the file that it makes, holes included.
    pub fn size(&self) -> u64 {
        match &self.sparse {
            Some(map) => map.real_size,
            None => self.entry.size(),
        }
    }

    /// Whether it has holes that the archive leaves out.
    pub fn is_sparse(&self) -> bool {
        self.sparse.is_some() || self.kind == EntryType::GNUSparse
    }

    /// Hands out the contents, which are not sparse, piece by piece.
    pub fn copy_to<E: From<ArchiveError>>(
        &mut self,
        buffer: &mut [u8],
        mut to: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let size = self.entry.size();
        let mut copied = 0;
        while copied < size {
            let n = self.entry.read(buffer).map_err(ArchiveError::read)?;
            if n == 0 {
                break;
            }
            to(&buffer[..n])?;
            copied += n as u64;
        }
        Ok(whole(copied, size)?)
    }

    /// Writes the contents to a new file.
    pub fn write_to(&mut self, file: &File, buffer: &mut [u8]) -> Result<()> {
        if let Some(map) = &self.sparse {
            return map.write(&mut self.entry, file, buffer);
        }
        if self.kind == EntryType::GNUSparse {
            return copy::with_holes(&mut self.entry, file, buffer)
                .map(drop)
                .map_err(ArchiveError::Copy);
        }
        let size = self.entry.size();
        let copied = copy::all(&mut self.entry, file, buffer).map_err(ArchiveError::Copy)?;
        whole(copied, size)
    }

    /// As [`Member::write_to`], but leaves holes where there are long runs of zeros: an archive that does not
    /// say where a file had its holes makes no terabyte of it.
    pub fn write_lightly(&mut self, file: &File, buffer: &mut [u8]) -> Result<()> {
        if self.sparse.is_some() || self.kind == EntryType::GNUSparse {
            return self.write_to(file, buffer);
        }
        let size = self.entry.size();
        let copied = copy::with_holes(&mut self.entry, file, buffer).map_err(ArchiveError::Copy)?;
        whole(copied, size)
    }
}

fn whole(copied: u64, size: u64) -> Result<()> {
    if copied == size {
        return Ok(());
    }
    Err(ArchiveError::malformed(
        "its archive ends in the middle of a file",
    ))
}

/// The entries of an archive.
pub struct Entries<R: Read> {
    archive: Archive<Tap<R>>,
    tap: Rc<TapState>,
}

impl<R: Read> Entries<R> {
    pub fn new(reader: R, max_header_bytes: u64) -> Entries<R> {
        let tap = Rc::new(TapState {
            position: Cell::new(0),
            limit: max_header_bytes,
            tapping: Cell::new(false),
            filling: Cell::new(0),
            taken: RefCell::new(Vec::new()),
        });
        let archive = Archive::new(Tap {
            inner: reader,
            state: tap.clone(),
        });
        Entries { archive, tap }
    }

    /// Goes through all of them, to the end of the archive, which may come before that of the stream.
    pub fn for_each<E: From<ArchiveError>>(
        &mut self,
        mut each: impl FnMut(Member<'_, '_, R>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut entries = self.archive.entries().map_err(ArchiveError::read)?;
        loop {
            self.tap.start();
            let Some(entry) = entries.next() else {
                return Ok(());
            };
            let mut entry = entry.map_err(ArchiveError::read)?;
            let records = self.tap.stop()?;
            if entry.header().entry_type() != EntryType::XGlobalHeader {
                let member = Member::read(&mut entry, &records)?;
                each(member)?;
            }
            // What is left of it must not be taken for headers.
            io::copy(&mut entry, &mut io::sink()).map_err(ArchiveError::read)?;
        }
    }
}

impl<'m, 'a, R: Read> Member<'m, 'a, R> {
    fn read(entry: &'m mut tar::Entry<'a, Tap<R>>, records: &Records) -> Result<Self> {
        let header = entry.header();
        let mut kind = header.entry_type();
        let mut path = match records.get("path") {
            Some(path) => path.to_vec(),
            None => entry.path_bytes().into_owned(),
        };
        let link = match records.get("linkpath") {
            Some(link) => link.to_vec(),
            None => entry
                .link_name_bytes()
                .map_or_else(Vec::new, |l| l.into_owned()),
        };
        // Archives older than POSIX mark a directory by its name alone.
        if kind == EntryType::Regular && path.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        let device = match kind {
            EntryType::Char | EntryType::Block => device(header)?,
            _ => (0, 0),
        };
        if let Some(size) = records.number("size")?
            && size != entry.size()
            && kind != EntryType::GNUSparse
        {
            return Err(ArchiveError::Malformed(
                "one of its entries has two sizes".into(),
            ));
        }
        let attributes = attributes(header, records)?;
        let sparse = if matches!(kind, EntryType::Regular) {
            sparse::Map::from_records(records, entry)?
        } else {
            None
        };
        if let Some(name) = records.get("GNU.sparse.name") {
            path = name.to_vec();
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(ArchiveError::Malformed(
                "one of its names has a NUL byte in it".into(),
            ));
        }
        Ok(Member {
            path,
            link,
            kind,
            device,
            attributes,
            sparse,
            entry,
        })
    }
}

/// A numeric field of a header. A blank one is zero, as it is to other engines.
fn number<T: Default>(field: &[u8], parsed: io::Result<T>) -> Result<T> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) {
        return Ok(T::default());
    }
    parsed.map_err(ArchiveError::read)
}

fn device(header: &Header) -> Result<(u32, u32)> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(h), _) => (&h.dev_major, &h.dev_minor),
        (None, Some(h)) => (&h.dev_major, &h.dev_minor),
        (None, None) => return Ok((0, 0)),
    };
    Ok((
        number(major, header.device_major())?.unwrap_or(0),
        number(minor, header.device_minor())?.unwrap_or(0),
    ))
}

fn attributes(header: &Header, records: &Records) -> Result<Attributes> {
    let fields = header.as_old();
    let id = |key: &str, from_header: Result<u64>| -> Result<u32> {
        let id = match records.number(key)? {
            Some(id) => id,
            None => from_header?,
        };
        // The largest is the kernel's "no id".
        u32::try_from(id)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| {
                ArchiveError::Malformed(format!("one of its entries has the {key} {id}"))
            })
    };
    let modified = match records.get("mtime").and_then(pax::time) {
        Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec },
        None => Timespec {
            tv_sec: i64::try_from(number(&fields.mtime, header.mtime())?).unwrap_or(i64::MAX),
            tv_nsec: 0,
        },
    };
    let accessed = match records.get("atime").and_then(pax::time) {
        Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec },
        None => modified,
    };
    let mut xattrs = Vec::new();
    for (key, value) in records.iter() {
        let Some(name) = key.strip_prefix(XATTR_KEY) else {
            continue;
        };
        if OVERLAY_XATTRS.iter().any(|o| name.starts_with(o)) {
            continue;
        }
        let name = CString::new(name).map_err(|_| {
            ArchiveError::Malformed(
                "one of its extended attributes has a NUL byte in its name".into(),
            )
        })?;
        xattrs.push((name, value.to_vec()));
    }
    Ok(Attributes {
        uid: rustix::fs::Uid::from_raw(id("uid", number(&fields.uid, header.uid()))?),
        gid: rustix::fs::Gid::from_raw(id("gid", number(&fields.gid, header.gid()))?),
        mode: number(&fields.mode, header.mode())? & 0o7777,
        modified,
        accessed,
        xattrs,
    })
}

struct TapState {
    /// Bytes read so far.
    position: Cell<u64>,
    limit: u64,
    tapping: Cell<bool>,
    /// Bytes that fill up the last block of the entry before.
    filling: Cell<u64>,
    taken: RefCell<Vec<u8>>,
}

impl TapState {
    fn start(&self) {
        self.taken.borrow_mut().clear();
        self.filling
            .set(self.position.get().next_multiple_of(BLOCK) - self.position.get());
        self.tapping.set(true);
    }

    /// The extended header's records among what was read since [`TapState::start`].
    fn stop(&self) -> Result<Records> {
        self.tapping.set(false);
        let taken = self.taken.borrow();
        let filling = self.filling.get() as usize;
        let mut blocks = taken.get(filling..).unwrap_or_default();
        while let Some(block) = blocks.get(..BLOCK as usize) {
            let header = Header::from_byte_slice(block);
            let kind = header.entry_type();
            let extension =
                kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink();
            if !extension {
                break;
            }
            let size = header.entry_size().map_err(ArchiveError::read)?;
            let start = BLOCK as usize;
            let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            let body = blocks.get(start..end).unwrap_or_default();
            if kind.is_pax_local_extensions() {
                return Records::parse(body);
            }
            blocks = blocks
                .get(end.next_multiple_of(start)..)
                .unwrap_or_default();
        }
        Ok(Records::default())
    }
}

struct Tap<R> {
    inner: R,
    state: Rc<TapState>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let state = &self.state;
        state.position.set(state.position.get() + n as u64);
        if state.tapping.get() {
            let mut taken = state.taken.borrow_mut();
            if taken.len() as u64 + n as u64 > state.limit {
                return Err(io::Error::other(ArchiveError::Malformed(format!(
                    "the headers of one of its entries are larger than {} bytes",
                    state.limit
                ))));
            }
            taken.extend_from_slice(&buffer[..n]);
        }
        Ok(n)
    }
}
