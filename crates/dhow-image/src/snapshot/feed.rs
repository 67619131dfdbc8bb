//! A layer's way from where it is written to where it is taken in.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};

use crate::error::ImageError;
use crate::layer_stream::LayerSink;

/// Handed over at once.
const CHUNK: usize = 256 << 10;

/// Writes to a layer that is being taken in. Blocks while that is behind.
pub(crate) struct Feed<'a> {
    sink: &'a LayerSink,
    buffer: BytesMut,
}

impl Feed<'_> {
    pub fn new(sink: &LayerSink) -> Feed<'_> {
        Feed {
            sink,
            buffer: BytesMut::with_capacity(CHUNK),
        }
    }

    fn send(&self, bytes: Bytes) -> io::Result<()> {
        match self.sink.send_blocking(bytes) {
            true => Ok(()),
            false => Err(io::Error::other(ImageError::Abandoned)),
        }
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK));
        match full.is_empty() {
            true => Ok(()),
            false => self.send(full.freeze()),
        }
    }
}
