//! An answer's body as a reader.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::io::{AsyncRead, ReadBuf};

/// A body as bytes.
pub struct BodyReader {
    body: Incoming,
    rest: Bytes,
}

impl BodyReader {
    pub(crate) fn new(body: Incoming) -> BodyReader {
        BodyReader {
            body,
            rest: Bytes::new(),
        }
    }

    /// What comes next, as it comes; `None` at the body's end. A body that is cut off is an error.
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        loop {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(io::Error::other)?.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                None => return Poll::Ready(Ok(None)),
            }
        }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match std::task::ready!(self.poll_piece(cx))? {
                Some(data) => self.rest = data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(n));
        Poll::Ready(Ok(()))
    }
}
