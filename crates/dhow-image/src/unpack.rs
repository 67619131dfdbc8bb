//! Unpacking a layer: from a tar stream to a tree that overlayfs takes as a lower directory (OCI image
//! specification, layer.md; kernel documentation, overlayfs).
//!
//! The stream is hostile. Every path is resolved beneath the tree's root by the kernel; every size,
//! count and header is bounded; and nothing that an entry says can reach outside. Whiteouts become what
//! overlayfs understands: a character device 0/0, and an xattr on an opaque directory.
//!
//! A layer is unpacked without the layers below it, so that layers can be unpacked side by side. What
//! needs those (directories that the layer does not describe, hard links to files below) is noted and
//! done in [`Unfinished::finish`].

mod finish;
mod implied;
mod memory;
mod path;
mod tree;

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;

use dhow_archive::{ArchiveError, Attributes, CHUNK, Entries, Member};
use rustix::fs::{Mode, OFlags};
use tar::EntryType;

use crate::error::{ImageError, Result};
pub(crate) use finish::Unfinished;
pub(crate) use path::RelPath;
use tree::Tree;

/// What a layer may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files together, holes included.
    pub max_bytes: u64,
    pub max_entries: u64,
    /// Bytes of memory for the paths that have to be kept in mind until the layer is whole: those of its
    /// directories, and of hard links to the layers below.
    pub max_paths: u64,
    /// Bytes of one entry's headers: long names and extended attributes.
    pub max_header_bytes: u64,
    /// How many times its compressed size a layer may have, beyond [`Limits::free_bytes`]. Gzip by its
    /// format can't reach 1,033.
    pub max_ratio: u64,
    /// Uncompressed bytes to which no ratio applies.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bytes: 1 << 40,
            max_entries: 10_000_000,
            // More than a million directories. Of the large images that one meets, a layer has a tenth of that.
            max_paths: 192 << 20,
            max_header_bytes: 1 << 20,
            max_ratio: 1100,
            free_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// Refuses what inflates to more than there is in earnest.
    pub(crate) fn check_ratio(&self, taken: u64, inflated: u64) -> Result<()> {
        let allowed = self
            .free_bytes
            .saturating_add(taken.saturating_mul(self.max_ratio));
        if inflated <= allowed {
            return Ok(());
        }
        Err(ImageError::Layer(format!(
            "it is a decompression bomb: {taken} bytes inflate to more than {inflated}"
        )))
    }
}

/// A tree that was unpacked, but for what needs the layers below.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Bytes of the files' contents, hard links counted once.
    pub size: u64,
    pub unfinished: Unfinished,
}

pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
pub(crate) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Unpacks the tar stream `reader` into the empty directory `root`. Reads up to the end of the archive,
/// which may come before the end of the stream.
pub(crate) fn unpack(reader: impl Read, root: &Path, limits: &Limits) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        tree: Tree::open(root)?,
        limits,
        bytes: 0,
        unfinished: Unfinished::new(limits.max_paths),
        buffer: vec![0; CHUNK],
    };
    let mut entries = Entries::new(reader, limits.max_header_bytes);
    let mut count = 0;
    entries.for_each(|member| {
        count += 1;
        if count > limits.max_entries {
            return Err(ImageError::Layer(format!(
                "it has more than {} entries",
                limits.max_entries
            )));
        }
        unpacker.member(member)?;
        unpacker.unfinished.check(unpacker.tree.implied_bytes())
    })?;
    unpacker
        .unfinished
        .set_implied(unpacker.tree.take_implied());
    Ok(Unpacked {
        size: unpacker.bytes,
        unfinished: unpacker.unfinished,
    })
}

struct Unpacker<'a> {
    tree: Tree,
    limits: &'a Limits,
    bytes: u64,
    unfinished: Unfinished,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn member<R: Read>(&mut self, mut member: Member<'_, '_, R>) -> Result<()> {
        let path = RelPath::clean(&member.path)?;
        let Some((parent, name)) = path.split() else {
            if member.kind == EntryType::Directory {
                self.tree.set_root(&member.attributes)?;
                self.unfinished.directory(path, member.attributes.modified);
                return Ok(());
            }
            return Err(ImageError::Layer(
                "an entry that is not a directory would replace its root".into(),
            ));
        };
        if name.starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(&parent, name);
        }
        self.create(&path, &parent, name, &mut member)
            .map_err(|e| e.of_entry(&path))
    }

    fn whiteout(&mut self, parent: &RelPath, name: &[u8]) -> Result<()> {
        if name == OPAQUE_MARKER {
            return self.tree.set_opaque(parent);
        }
        if name.starts_with(WHITEOUT_META_PREFIX) {
            // Bookkeeping of aufs.
            return Ok(());
        }
        let hidden = &name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(ImageError::Layer(format!(
                "the whiteout {} names no file",
                String::from_utf8_lossy(name)
            )));
        }
        self.tree.whiteout(parent, hidden)
    }

    fn create<R: Read>(
        &mut self,
        path: &RelPath,
        parent: &RelPath,
        name: &[u8],
        member: &mut Member<'_, '_, R>,
    ) -> Result<()> {
        match member.kind {
            EntryType::Directory => {
                self.tree.directory(parent, name, &member.attributes)?;
                self.unfinished
                    .directory(path.clone(), member.attributes.modified);
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(parent, name, member)
            }
            // Wherever it points, in a container that is inside; who makes something through it here is refused.
            EntryType::Symlink => self
                .tree
                .symlink(parent, name, &member.link, &member.attributes),
            EntryType::Link => {
                let target = RelPath::clean(&member.link)?;
                if !self.tree.hard_link(parent, name, &target)? {
                    self.unfinished.link(path.clone(), target);
                }
                Ok(())
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.tree
                    .node(parent, name, member.kind, member.device, &member.attributes)
            }
            other => Err(ImageError::Layer(format!(
                "its entry {path} has the unknown type {:?}",
                char::from(other.as_byte())
            ))),
        }
    }

    fn file<R: Read>(
        &mut self,
        parent: &RelPath,
        name: &[u8],
        member: &mut Member<'_, '_, R>,
    ) -> Result<()> {
        let room = self.limits.max_bytes.saturating_sub(self.bytes);
        let size = member.size();
        if size > room {
            return Err(ImageError::Layer(format!(
                "its files are larger than the limit of {} bytes",
                self.limits.max_bytes
            )));
        }
        let file = self.tree.file(parent, name)?;
        member.write_to(&file, &mut self.buffer)?;
        self.bytes += size;
        set_attributes(&file, &member.attributes).map_err(io_error)
    }
}

/// Sets what belongs to an inode, in the order in which one does not undo the other: changing the owner
/// clears set-id bits and capabilities.
fn set_attributes(file: &impl rustix::fd::AsFd, attributes: &Attributes) -> io::Result<()> {
    let fd: BorrowedFd<'_> = file.as_fd();
    rustix::fs::fchown(fd, Some(attributes.uid), Some(attributes.gid))?;
    for (name, value) in &attributes.xattrs {
        tree::tolerate_unsupported(
            name,
            rustix::fs::fsetxattr(fd, name.as_c_str(), value, rustix::fs::XattrFlags::empty()),
        )?;
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(attributes.mode))?;
    rustix::fs::futimens(fd, &attributes.times())?;
    Ok(())
}

fn io_error(source: impl Into<io::Error>) -> ImageError {
    ImageError::carried(source.into()).unwrap_or_else(|source| ImageError::Io {
        context: "unpacking".into(),
        source,
    })
}

impl From<ArchiveError> for ImageError {
    fn from(e: ArchiveError) -> ImageError {
        match e {
            ArchiveError::Read(source) => ImageError::carried(source)
                .unwrap_or_else(|source| ImageError::Layer(ArchiveError::Read(source).to_string())),
            ArchiveError::Copy(source) => io_error(source),
            other => ImageError::Layer(other.to_string()),
        }
    }
}

impl ImageError {
    /// Says which entry of a layer an I/O error came up at.
    fn of_entry(self, path: &RelPath) -> ImageError {
        match self {
            ImageError::Io { context, source } if context == "unpacking" => ImageError::Io {
                context: format!("unpacking {path}"),
                source,
            },
            other => other,
        }
    }
}

/// How directories are opened to work in them.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests;
