//! Connections that stop being HTTP: attach and exec hand the client's socket to a process's streams
//! (Engine API, "ContainerAttach", hijacking).
//!
//! A route answers with [`switch`]. The server then takes the socket away from the HTTP library, writes
//! the head itself and runs the session; bytes that the client sent after its request are the beginning
//! of the stream. Docker does so in two forms: with an `Upgrade` header in the request, of whatever
//! value, the answer is 101; without one it is 200 with neither a length nor chunks, a form that no HTTP
//! library can write.

use std::fmt::Write as _;
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use dhow_api::{ApiVersion, media_type};
use http::{HeaderMap, StatusCode, header};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// What a connection is made of.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket, where the kernel tells of it that its other end is gone, not just done with sending.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Transport for UnixStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl Transport for TcpStream {}
impl Transport for tokio_rustls::server::TlsStream<TcpStream> {}

type Session = Box<dyn FnOnce(RawStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// In the extensions of a response: the session that takes the connection over.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Session>>>);

impl Takeover {
    /// The session, once.
    pub fn take(&self) -> Option<Session> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).take()
    }
}

/// The answer after which the connection belongs to `session`. `multiplexed` says that the stream has
/// frames, not a terminal's bytes.
pub fn switch<F, Fut>(
    request: &HeaderMap,
    api: ApiVersion,
    multiplexed: bool,
    session: F,
) -> Response
where
    F: FnOnce(RawStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let upgrade = request.contains_key(header::UPGRADE);
    // Without an upgrade old clients expect the old type, whatever the stream is.
    let content_type = if upgrade && multiplexed && api >= ApiVersion::v1(42) {
        media_type::MULTIPLEXED_STREAM
    } else {
        media_type::RAW_STREAM
    };
    headers.insert(
        header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    if upgrade {
        headers.insert(
            header::CONNECTION,
            http::HeaderValue::from_static("Upgrade"),
        );
        headers.insert(header::UPGRADE, http::HeaderValue::from_static("tcp"));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    }
    take_over(response, session)
}

/// The answer after which the connection is a web socket's (RFC 6455, 4.2.2) and belongs to `session`.
pub fn switch_to_websocket<F, Fut>(accept: http::HeaderValue, session: F) -> Response
where
    F: FnOnce(RawStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(
        header::CONNECTION,
        http::HeaderValue::from_static("Upgrade"),
    );
    headers.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    take_over(response, session)
}

fn take_over<F, Fut>(mut response: Response, session: F) -> Response
where
    F: FnOnce(RawStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let session: Session = Box::new(move |stream| Box::pin(session(stream)));
    response
        .extensions_mut()
        .insert(Takeover(Arc::new(Mutex::new(Some(session)))));
    response
}

/// The head of an answer as it goes over the wire.
pub fn render_head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let reason = match status {
        // Docker's own; some clients match on the line.
        StatusCode::SWITCHING_PROTOCOLS => "UPGRADED",
        _ => status.canonical_reason().unwrap_or(""),
    };
    let mut head = String::new();
    // Writing to a string can't fail.
    let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    let mut head = head.into_bytes();
    for (name, value) in headers {
        for part in name.as_str().split_inclusive('-') {
            let (first, rest) = part.split_at(1.min(part.len()));
            head.extend_from_slice(first.to_ascii_uppercase().as_bytes());
            head.extend_from_slice(rest.as_bytes());
        }
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A client's socket as the HTTP library sees it. While a request is handled that may take the connection
/// over, the client's end of sending is held back: the library would take it for the client's death, and
/// it is only the end of the process's input.
pub struct ClientSocket {
    transport: Box<dyn Transport>,
    hold_end: HoldEnd,
}

/// Whether the end of a client's sending is held back.
#[derive(Clone, Default)]
pub struct HoldEnd(Arc<AtomicBool>);

impl HoldEnd {
    pub fn set(&self, hold: bool) {
        self.0.store(hold, Ordering::Relaxed);
    }
}

impl ClientSocket {
    pub fn new(transport: Box<dyn Transport>) -> (ClientSocket, HoldEnd) {
        let hold_end = HoldEnd::default();
        let socket = ClientSocket {
            transport,
            hold_end: hold_end.clone(),
        };
        (socket, hold_end)
    }

    /// The socket without HTTP, after what the library had read ahead.
    pub fn into_raw(self, read_ahead: Bytes) -> RawStream {
        RawStream {
            read_ahead,
            transport: self.transport,
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.transport).poll_read(cx, buf);
        let ended = matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        if ended && buf.remaining() > 0 && self.hold_end.0.load(Ordering::Relaxed) {
            // The handler's end wakes this task.
            return Poll::Pending;
        }
        polled
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// A connection that is no longer HTTP.
pub struct RawStream {
    read_ahead: Bytes,
    transport: Box<dyn Transport>,
}

impl RawStream {
    /// Done when the client is gone altogether; never where the kernel does not tell. Reading finds only
    /// the end of the client's sending, and writing finds it only when there is something to write.
    pub fn hung_up(&self) -> impl Future<Output = ()> + Send + use<> {
        // A hang-up is reported whatever is asked for (epoll_ctl(2)), and urgent data does not come.
        let watch = self.transport.socket().and_then(|socket| {
            let socket = socket.try_clone_to_owned().ok()?;
            // SAFETY: the descriptor is owned by what is registered, and closed only after it is taken out.
            unsafe { AsyncFd::register_with_interest(socket, Interest::PRIORITY) }.ok()
        });
        async move {
            match &watch {
                Some(watch) if watch.ready(Interest::PRIORITY).await.is_ok() => {}
                _ => std::future::pending().await,
            }
        }
    }
}

impl AsyncRead for RawStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.read_ahead.has_remaining() {
            let n = self.read_ahead.len().min(buf.remaining());
            buf.put_slice(&self.read_ahead.split_to(n));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_dockers() {
        let mut request = HeaderMap::new();
        let head = |response: Response| {
            String::from_utf8(render_head(response.status(), response.headers())).unwrap()
        };
        assert_eq!(
            head(switch(&request, ApiVersion::MAX, true, |_| async {})),
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
        );
        request.insert(header::UPGRADE, "h2c".parse().unwrap());
        assert_eq!(
            head(switch(&request, ApiVersion::MAX, true, |_| async {})),
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        );
        let raw = head(switch(&request, ApiVersion::v1(41), true, |_| async {}));
        assert!(raw.contains("raw-stream"), "{raw}");
        let tty = head(switch(&request, ApiVersion::MAX, false, |_| async {}));
        assert!(tty.contains("raw-stream"), "{tty}");
    }
}
