//! Where the bytes of a layer come from: a sender, whose stream becomes the layer's blob, or a blob that is here.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use dhow_oci::Digest;

use crate::blob::BlobWriter;
use crate::chunks::{Chunks, read_buffered};
use crate::error::{Context, ImageError};
use crate::layer_stream::LayerBlob;

/// Bytes read at once from a blob.
const CHUNK: usize = 256 << 10;

/// Is told how many bytes have been read, and gives up by false.
pub(crate) type Passed<'a> = &'a dyn Fn(u64) -> bool;

pub(crate) struct Source<'a> {
    origin: Origin<'a>,
    current: Bytes,
    /// How many bytes have come.
    taken: Rc<Cell<u64>>,
    ended: bool,
}

enum Origin<'a> {
    Sender {
        chunks: Chunks,
        blob: Box<BlobWriter>,
        /// More bytes than were promised are not taken.
        limit: Option<u64>,
    },
    Blob {
        file: File,
        digest: Digest,
        passed: Passed<'a>,
    },
}

impl<'a> Source<'a> {
    pub fn sender(chunks: Chunks, blob: BlobWriter, limit: Option<u64>) -> Source<'a> {
        Source::new(Origin::Sender {
            chunks,
            blob: Box::new(blob),
            limit,
        })
    }

    pub fn blob(file: File, digest: Digest, passed: Passed<'a>) -> Source<'a> {
        Source::new(Origin::Blob {
            file,
            digest,
            passed,
        })
    }

    fn new(origin: Origin<'a>) -> Source<'a> {
        Source {
            origin,
            current: Bytes::new(),
            taken: Rc::default(),
            ended: false,
        }
    }

    /// How many bytes have come, also while a decoder reads this.
    pub fn taken(&self) -> Rc<Cell<u64>> {
        self.taken.clone()
    }

    /// Whether the stream came to its end.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What the stream was, as far as it came.
    pub fn finish(self) -> LayerBlob {
        match self.origin {
            Origin::Sender { blob, .. } => LayerBlob::Staged(blob.finish()),
            Origin::Blob { digest, .. } => LayerBlob::Kept(digest),
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>, ImageError> {
        match &mut self.origin {
            Origin::Sender {
                chunks,
                blob,
                limit,
            } => {
                let Some(bytes) = chunks.next()? else {
                    return Ok(None);
                };
                blob.write(&bytes)?;
                match *limit {
                    Some(limit) if blob.size() > limit => Err(ImageError::WrongSize {
                        what: "the layer's blob",
                        expected: limit,
                        found: blob.size(),
                    }),
                    _ => Ok(Some(bytes)),
                }
            }
            Origin::Blob {
                file,
                digest,
                passed,
            } => {
                let mut buffer = BytesMut::zeroed(CHUNK);
                let n = file
                    .read(&mut buffer)
                    .context(|| format!("reading blob {digest}"))?;
                buffer.truncate(n);
                if !passed(self.taken.get() + n as u64) {
                    return Err(ImageError::Abandoned);
                }
                Ok(Some(buffer.freeze()).filter(|b| !b.is_empty()))
            }
        }
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.next().map_err(io::Error::other)? {
                Some(bytes) => {
                    self.taken.set(self.taken.get() + bytes.len() as u64);
                    self.current = bytes;
                }
                None => self.ended = true,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.current.split_to(amount);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}
