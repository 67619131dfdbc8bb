//! An archive's way out: a tar stream of what [`Saving`] has, straight from the content store.

use std::io::{self, BufReader, Read, Write};

use tar::{Builder, EntryType, Header};

use super::layout;
use super::save::{Content, Saving};
use crate::error::{Context, ImageError, Result};

/// Bytes read at once from a blob.
const CHUNK: usize = 256 << 10;

impl Saving {
    /// Writes the archive. Blocks, in constant memory.
    pub fn write(&self, to: impl Write) -> Result<()> {
        let mut archive = Builder::new(to);
        let mut directories: Vec<&str> = Vec::new();
        for (path, content) in &self.files {
            if path.starts_with(layout::BLOBS) {
                // Of the blobs' path: above each kind of digest a directory.
                for (end, _) in path.match_indices('/') {
                    if !directories.contains(&&path[..end]) {
                        directories.push(&path[..end]);
                        let mut header = header(EntryType::Directory, 0o755, 0);
                        archive
                            .append_data(&mut header, &path[..=end], io::empty())
                            .context(writing)?;
                    }
                }
            }
            // As the newest peer has them.
            let mode = match path.as_str() {
                layout::INDEX | layout::MANIFEST => 0o644,
                _ => 0o444,
            };
            match content {
                Content::Bytes(bytes) => {
                    let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
                    archive
                        .append_data(&mut header, path, bytes.as_slice())
                        .context(writing)?;
                }
                Content::Blob(digest, size) => {
                    let file = self.images.open_blob(digest)?;
                    let exactly = Exactly {
                        reader: file.take(*size),
                        left: *size,
                    };
                    // The library copies in small pieces.
                    let mut exactly = BufReader::with_capacity(CHUNK, exactly);
                    let mut header = header(EntryType::Regular, mode, *size);
                    archive
                        .append_data(&mut header, path, &mut exactly)
                        .context(writing)?;
                    let left = exactly.get_ref().left;
                    if left > 0 {
                        return Err(ImageError::WrongSize {
                            what: "a blob",
                            expected: *size,
                            found: *size - left,
                        });
                    }
                }
            }
        }
        archive
            .into_inner()
            .and_then(|mut to| to.flush())
            .context(writing)
    }
}

fn writing() -> String {
    "writing an archive of images".into()
}

/// Says nothing of when, where and by whom it was written.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Knows whether as much came as was to come.
struct Exactly<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}
