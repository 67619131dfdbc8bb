//! A stream's way from a sender that must not block to a thread that may: chunks through a channel of bounded
//! length, and the thread's result back.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Context, ImageError, Result};

/// Chunks on their way; each is as large as the sender makes it.
const CHUNKS: usize = 16;

enum Chunk {
    Data(Bytes),
    End,
}

/// Where a stream goes. Dropped before [`Sink::finish`], it takes back all that was written.
#[derive(Debug)]
pub struct Sink<T> {
    chunks: mpsc::Sender<Chunk>,
    result: oneshot::Receiver<Result<T>>,
}

impl<T: Send + 'static> Sink<T> {
    /// Starts a thread that makes something of a stream.
    pub(crate) fn start(
        name: &str,
        work: impl FnOnce(Chunks) -> Result<T> + Send + 'static,
    ) -> Result<Sink<T>> {
        let (chunks, incoming) = mpsc::channel(CHUNKS);
        let (report, result) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let incoming = Chunks {
                    chunks: incoming,
                    current: Bytes::new(),
                    ended: false,
                };
                // A sender that is gone does not want the result: dropping it removes it.
                let _ = report.send(work(incoming));
            })
            .context(|| format!("starting a thread for a stream ({name})"))?;
        Ok(Sink { chunks, result })
    }

    /// Hands over the next bytes; waits while the disk is behind. False once the stream was refused or
    /// failed: [`Sink::finish`] tells why.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.chunks.send(Chunk::Data(bytes)).await.is_ok()
    }

    /// As [`Sink::send`], for threads that may block.
    pub fn send_blocking(&self, bytes: Bytes) -> bool {
        self.chunks.blocking_send(Chunk::Data(bytes)).is_ok()
    }

    /// The stream has ended: waits for what was made of it.
    pub async fn finish(self) -> Result<T> {
        // If nobody listens any more, the result says why.
        let _ = self.chunks.send(Chunk::End).await;
        self.result.await.unwrap_or(Err(ImageError::Abandoned))
    }

    /// The stream will not be completed: waits until all that was written of it is gone.
    pub async fn abandon(self) {
        drop(self.chunks);
        // Whatever it says, nothing was made.
        drop(self.result.await);
    }

    /// As [`Sink::abandon`], for threads that may block.
    pub fn abandon_blocking(self) {
        drop(self.chunks);
        drop(self.result.blocking_recv());
    }

    /// As [`Sink::finish`], for threads that may block.
    pub fn finish_blocking(self) -> Result<T> {
        let _ = self.chunks.blocking_send(Chunk::End);
        self.result
            .blocking_recv()
            .unwrap_or(Err(ImageError::Abandoned))
    }
}

/// The thread's end of a [`Sink`]. A sender that gave up is an error, [`ImageError::Abandoned`].
pub(crate) struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    current: Bytes,
    ended: bool,
}

impl Chunks {
    /// The next bytes; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        match self.chunks.blocking_recv() {
            Some(Chunk::Data(bytes)) => Ok(Some(bytes)),
            Some(Chunk::End) => Ok(None),
            None => Err(ImageError::Abandoned),
        }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.next().map_err(io::Error::other)? {
                Some(bytes) => self.current = bytes,
                None => self.ended = true,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.current.split_to(amount);
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// [`Read::read`] of what is a [`BufRead`].
pub(crate) fn read_buffered(reader: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = reader.fill_buf()?;
    let n = available.len().min(buffer.len());
    buffer[..n].copy_from_slice(&available[..n]);
    reader.consume(n);
    Ok(n)
}
