//! Requests whose bodies are not wanted to their ends.
//!
//! A client that is still sending when it is answered may not read the answer before it has sent everything, and
//! if the connection is closed on it, it never does: it says "broken pipe" instead. So what is left of a body is
//! read on, up to a bound, while the answer goes out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

/// More than this is not read on of one body, in bytes.
const MOST: u64 = 16 << 30;
/// A client that sends nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request's body which is read on when it is dropped before its end.
pub struct ReadOn<B: Unread>(Option<B>, CancellationToken);

/// A body that can be read on by a task of its own.
pub trait Unread: Body<Data = Bytes> + Send + Unpin + 'static {}
impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Unread for B {}

impl<B: Unread> ReadOn<B> {
    /// Reading on ends when `stop` says so.
    pub fn new(body: B, stop: CancellationToken) -> ReadOn<B> {
        ReadOn(Some(body), stop)
    }
}

/// Whether the client waits to be told to send its body: if it is not, it won't.
pub fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

impl<B: Unread> Body for ReadOn<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: Unread> Drop for ReadOn<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // Without a runtime the connection is gone, too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let stop = self.1.clone();
            runtime.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = read_on(body) => {}
                }
            });
        }
    }
}

async fn read_on<B: Unread>(mut body: B) {
    let mut read = 0;
    while read < MOST {
        match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::StreamBody;

    use super::*;

    /// Counts what is taken of it.
    fn counting(taken: Arc<AtomicUsize>) -> impl Unread {
        let pieces = (0..100).map(move |_| {
            taken.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(futures_util::stream::iter(pieces))
    }

    #[tokio::test]
    async fn what_is_left_is_read_on_unless_the_daemon_ends() {
        for ends in [false, true] {
            let taken = Arc::new(AtomicUsize::new(0));
            let stop = CancellationToken::new();
            let mut body = ReadOn::new(counting(taken.clone()), stop.clone());
            assert!(body.frame().await.is_some());
            if ends {
                stop.cancel();
            }
            drop(body);
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            let read = taken.load(Ordering::SeqCst);
            assert!(if ends { read <= 2 } else { read == 100 }, "{ends} {read}");
        }
    }
}
