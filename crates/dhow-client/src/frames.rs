//! Output of a process without a terminal: frames of an 8-byte header (stream, three zero bytes, length
//! in big endian) and that many bytes (Engine API, "Attach to a container", stream format).

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    Stdin,
    Stdout,
    Stderr,
    /// The daemon's own complaint, in the middle of a stream.
    System,
}

/// Some bytes of one stream. A long frame comes in several of these, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub stream: StreamKind,
    pub bytes: Bytes,
}

const HEADER: usize = 8;
const BUFFER: usize = 32 * 1024;

/// Reads frames, or takes a raw stream as standard output.
pub struct FrameReader<R> {
    inner: R,
    buffer: BytesMut,
    /// The stream and the bytes left of the frame that is being read.
    current: Option<(StreamKind, u32)>,
    raw: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(inner: R, raw: bool) -> FrameReader<R> {
        FrameReader {
            inner,
            buffer: BytesMut::with_capacity(BUFFER),
            current: None,
            raw,
        }
    }

    /// The next bytes, or `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(BUFFER);
            if self.inner.read_buf(&mut self.buffer).await? == 0 {
                return match (self.buffer.is_empty(), self.current) {
                    (true, None) => Ok(None),
                    _ => Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the stream ended within a frame",
                    )
                    .into()),
                };
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Frame>> {
        if self.raw {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            return Ok(Some(Frame {
                stream: StreamKind::Stdout,
                bytes: self.buffer.split().freeze(),
            }));
        }
        loop {
            let (stream, left) = match self.current {
                Some(current) => current,
                None => {
                    if self.buffer.len() < HEADER {
                        return Ok(None);
                    }
                    let stream = match self.buffer[0] {
                        0 => StreamKind::Stdin,
                        1 => StreamKind::Stdout,
                        2 => StreamKind::Stderr,
                        3 => StreamKind::System,
                        other => {
                            return Err(io::Error::new(
                                io::ErrorKind::InvalidData,
                                format!("unrecognized stream: {other}"),
                            ));
                        }
                    };
                    self.buffer.advance(4);
                    (stream, self.buffer.get_u32())
                }
            };
            if left == 0 {
                self.current = None;
                continue;
            }
            self.current = Some((stream, left));
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let n = self.buffer.len().min(left as usize);
            let bytes = self.buffer.split_to(n).freeze();
            let left = left - n as u32;
            self.current = (left > 0).then_some((stream, left));
            return Ok(Some(Frame { stream, bytes }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, payload) in frames {
            bytes.extend([*stream, 0, 0, 0]);
            bytes.extend((payload.len() as u32).to_be_bytes());
            bytes.extend(payload);
        }
        bytes
    }

    /// Reads a stream that arrives in pieces of `step` bytes.
    fn decode(bytes: &[u8], step: usize, raw: bool) -> Result<Vec<(StreamKind, Vec<u8>)>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let (mut sender, receiver) = tokio::io::duplex(step);
            let owned = bytes.to_vec();
            let writing = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt;
                // The reader may have given up.
                let _ = sender.write_all(&owned).await;
            });
            let mut reader = FrameReader::new(receiver, raw);
            let mut seen: Vec<(StreamKind, Vec<u8>)> = Vec::new();
            while let Some(frame) = reader.next().await? {
                match seen.last_mut() {
                    Some((stream, all)) if *stream == frame.stream => all.extend(&frame.bytes),
                    _ => seen.push((frame.stream, frame.bytes.to_vec())),
                }
            }
            let _ = writing.await;
            Ok(seen)
        })
    }

    proptest! {
        #[test]
        fn frames_survive_every_cut(
            frames in prop::collection::vec((1u8..=2, prop::collection::vec(any::<u8>(), 0..50)), 0..8),
            step in 1usize..40,
        ) {
            let mut expected: Vec<(StreamKind, Vec<u8>)> = Vec::new();
            for (stream, payload) in frames.iter().filter(|(_, payload)| !payload.is_empty()) {
                let stream = if *stream == 1 { StreamKind::Stdout } else { StreamKind::Stderr };
                match expected.last_mut() {
                    Some((last, all)) if *last == stream => all.extend(payload),
                    _ => expected.push((stream, payload.clone())),
                }
            }
            prop_assert_eq!(decode(&encode(&frames), step, false).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_a_frame_is_refused() {
        assert!(decode(&[7, 0, 0, 0, 0, 0, 0, 1, 9], 100, false).is_err());
        assert!(decode(&[1, 0, 0, 0, 0, 0, 0, 5, 9], 100, false).is_err());
        assert!(decode(&[1, 0, 0], 100, false).is_err());
    }

    #[test]
    fn a_raw_stream_is_standard_output() {
        assert_eq!(
            decode(b"\x07anything", 3, true).unwrap(),
            [(StreamKind::Stdout, b"\x07anything".to_vec())]
        );
    }
}
