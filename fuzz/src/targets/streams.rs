//! What daemons and registries answer: output in frames, messages that follow each other, challenges.

use std::pin::Pin;
use std::task::{Context, Poll};

use dhow_client::{FrameReader, StreamKind};
use tokio::io::{AsyncRead, ReadBuf};

use super::choice;

/// Bytes that come in pieces of this size.
struct Pieces<'a>(&'a [u8], usize);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.0.len().min(self.1).min(buffer.remaining());
        buffer.put_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Poll::Ready(Ok(()))
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(future)
}

fn frames_of(data: &[u8], size: usize, raw: bool) -> (Vec<(StreamKind, Vec<u8>)>, bool) {
    block_on(async {
        let mut reader = FrameReader::new(Pieces(data, size), raw);
        let mut all: Vec<(StreamKind, Vec<u8>)> = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(frame)) => match all.last_mut() {
                    Some((stream, bytes)) if *stream == frame.stream => bytes.extend(frame.bytes),
                    _ => all.push((frame.stream, frame.bytes.to_vec())),
                },
                Ok(None) => return (all, true),
                Err(_) => return (all, false),
            }
        }
    })
}

pub fn frames(data: &[u8]) {
    let (how, data) = choice(data);
    let (raw, size) = (how & 1 == 1, usize::from(how >> 1) + 1);
    let whole = frames_of(data, usize::MAX, raw);
    let pieced = frames_of(data, size, raw);
    assert_eq!(whole, pieced, "in pieces of {size}");
}

pub fn messages(data: &[u8]) {
    let (size, data) = choice(data);
    let size = usize::from(size) + 1;
    let whole = dhow_client::untrusted::messages(data.chunks(data.len().max(1)));
    let pieced = dhow_client::untrusted::messages(data.chunks(size));
    // Where one of them is none, how much was read before differs. Words and numbers are no messages: those at the
    // end may wait for more.
    if let (Ok(mut whole), Ok(mut pieced)) = (whole, pieced) {
        for all in [&mut whole, &mut pieced] {
            while all
                .pop_if(|last| !last.is_object() && !last.is_array())
                .is_some()
            {}
        }
        assert_eq!(whole, pieced, "in pieces of {size}");
    }
}

pub fn challenge(data: &[u8]) {
    dhow_distribution::untrusted::challenge(data);
}
