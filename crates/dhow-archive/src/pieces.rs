//! Archives in pieces, on their way between the thread that reads or writes files and a stream that must not be
//! held up by it.
//!
//! Neither end is generic over who uses it: the code is this crate's, and optimized, also where its user's is not.

use std::io::{self, Read, Write};

use bytes::Bytes;

use crate::copy::CHUNK;

/// Takes bytes, and hands them on in pieces of [`CHUNK`]; what is left of them when it is flushed. Its errors are those
/// of whoever takes the pieces.
pub struct Chunks<'a> {
    buffer: Vec<u8>,
    filled: usize,
    send: Box<dyn FnMut(Bytes) -> io::Result<()> + 'a>,
}

impl<'a> Chunks<'a> {
    pub fn new(send: impl FnMut(Bytes) -> io::Result<()> + 'a) -> Chunks<'a> {
        Chunks {
            buffer: Vec::new(),
            filled: 0,
            send: Box::new(send),
        }
    }

    /// Room for at least one byte more.
    pub(crate) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.filled == self.buffer.len() {
            self.flush()?;
            self.buffer = vec![0; CHUNK];
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// So many bytes of the room were used.
    pub(crate) fn used(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    pub(crate) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let room = self.room()?;
            let n = usize::try_from(count).unwrap_or(usize::MAX).min(room.len());
            room[..n].fill(0);
            self.used(n);
            count -= n as u64;
        }
        Ok(())
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.room()?;
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.used(n);
        Ok(n)
    }

    /// Hands on what there is.
    fn flush(&mut self) -> io::Result<()> {
        let mut piece = std::mem::take(&mut self.buffer);
        piece.truncate(std::mem::take(&mut self.filled));
        if piece.is_empty() {
            return Ok(());
        }
        (self.send)(piece.into())
    }
}

/// Reads what comes in pieces.
pub struct Pieces<'a> {
    next: Box<dyn FnMut() -> Option<io::Result<Bytes>> + 'a>,
    piece: Bytes,
}

impl<'a> Pieces<'a> {
    pub fn new(next: impl FnMut() -> Option<io::Result<Bytes>> + 'a) -> Pieces<'a> {
        Pieces {
            next: Box::new(next),
            piece: Bytes::new(),
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match (self.next)() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let n = self.piece.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_out_as_they_went_in() {
        let mut sent = Vec::new();
        let mut chunks = Chunks::new(|piece| {
            sent.push(piece);
            Ok(())
        });
        chunks.write_all(&[7; CHUNK + 5]).unwrap();
        chunks.zeros(CHUNK as u64 * 2).unwrap();
        chunks.write_all(b"end").unwrap();
        chunks.flush().unwrap();
        drop(chunks);
        assert!(sent.iter().all(|piece| piece.len() <= CHUNK));
        assert_eq!(sent.len(), 4);
        let mut left = sent.into_iter();
        let mut all = Vec::new();
        Pieces::new(|| left.next().map(Ok))
            .read_to_end(&mut all)
            .unwrap();
        assert_eq!(all.len(), CHUNK * 3 + 8);
        assert_eq!(&all[all.len() - 4..], b"\0end");
    }
}
