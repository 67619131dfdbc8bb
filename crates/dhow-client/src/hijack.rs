//! A connection that has become a stream: attach, exec. Its two directions end apart from each other, so
//! that a process can be told the end of its input and still be heard.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};

use crate::connect::Connection;

pub struct Hijacked {
    pub reader: HijackReader,
    pub writer: HijackWriter,
    content_type: Option<HeaderValue>,
}

impl Hijacked {
    pub(crate) fn new(
        connection: Connection,
        early: Bytes,
        content_type: Option<HeaderValue>,
    ) -> Hijacked {
        let (inner, writer) = tokio::io::split(connection);
        Hijacked {
            reader: HijackReader { early, inner },
            writer: HijackWriter(writer),
            content_type,
        }
    }

    /// Whether the daemon says that output comes in frames; it does from version 1.42 on.
    pub fn multiplexed(&self) -> Option<bool> {
        let text = self.content_type.as_ref()?.to_str().ok()?;
        Some(text == dhow_api::media_type::MULTIPLEXED_STREAM)
    }
}

/// What the daemon sends.
pub struct HijackReader {
    /// What came together with the answer's head.
    early: Bytes,
    inner: ReadHalf<Connection>,
}

impl AsyncRead for HijackReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.has_remaining() {
            let n = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(n));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

/// What the daemon is sent.
pub struct HijackWriter(WriteHalf<Connection>);

impl HijackWriter {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Tells the daemon that no more comes; its side stays open.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl AsyncWrite for HijackWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
