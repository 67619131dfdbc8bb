//! An archive's way in: decompressed, read and spooled while it comes, in constant memory.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use dhow_archive::Entries;

use super::spool::Spool;
use crate::chunks::{Chunks, Sink, read_buffered};
use crate::compression::{Compression, Decoder};
use crate::error::{ImageError, Result};
use crate::images::Images;
use crate::unpack::Limits;

/// Where the stream of an archive goes.
pub type ArchiveSink = Sink<Archive>;

/// An archive that is all here, but none of its images. Dropped, it is removed.
#[derive(Debug)]
pub struct Archive {
    pub(super) images: Images,
    pub(super) spool: Spool,
}

impl Images {
    /// Begins to receive an archive of images, compressed or not.
    pub fn receive_archive(&self) -> Result<ArchiveSink> {
        let images = self.clone();
        Sink::start("archive", move |chunks| {
            receive(&images, chunks).map_err(of_archive)
        })
    }
}

fn receive(images: &Images, chunks: Chunks) -> Result<Archive> {
    let taken = Rc::new(Cell::new(0));
    let counted = Counted {
        chunks,
        taken: taken.clone(),
    };
    let limits = images.inner.limits;
    let mut inflated = Bounded {
        decoder: Decoder::new(counted).map_err(from_stream)?,
        taken,
        inflated: 0,
        limits,
    };
    let mut spool = Spool::new(images, &limits);
    let mut entries = Entries::new(&mut inflated, limits.max_header_bytes);
    entries
        .for_each(|member| spool.take(member))
        .map_err(|e| match e {
            ImageError::Layer(_) if !spool.has_begun() => {
                ImageError::Archive("it is not a tar archive, compressed or not".into())
            }
            other => other,
        })?;
    // To its end, where a checksum may tell that it is damaged.
    io::copy(&mut inflated, &mut io::sink()).map_err(from_stream)?;
    Ok(Archive {
        images: images.clone(),
        spool,
    })
}

/// What is wrong with a tar stream is said of a layer where it is one.
fn of_archive(e: ImageError) -> ImageError {
    match e {
        ImageError::Layer(reason) => ImageError::Archive(reason.replacen("its archive ", "it ", 1)),
        other => other,
    }
}

fn from_stream(e: io::Error) -> ImageError {
    ImageError::carried(e)
        .unwrap_or_else(|e| ImageError::Archive(format!("it can't be decompressed: {e}")))
}

/// Counts what comes.
struct Counted {
    chunks: Chunks,
    taken: Rc<Cell<u64>>,
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.chunks.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken.set(self.taken.get() + amount as u64);
        self.chunks.consume(amount);
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// Refuses what inflates to too much.
struct Bounded {
    decoder: Decoder<Counted>,
    taken: Rc<Cell<u64>>,
    inflated: u64,
    limits: Limits,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(buffer)?;
        self.inflated += n as u64;
        if self.decoder.compression() != Compression::None {
            self.limits
                .check_ratio(self.taken.get(), self.inflated)
                .map_err(io::Error::other)?;
        }
        Ok(n)
    }
}
