//! A process's streams over a web socket (RFC 6455): each message is a piece of the input, or of the output.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use dhow_engine::AttachSession;
use futures_util::{Sink, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, handshake};

use crate::error::{ApiError, Result};
use crate::framing::{Framing, Unwrapper};
use crate::hijack::RawStream;
use crate::routes::session;

/// Bytes of a client's message; more is an error, not memory.
const MAX_MESSAGE: usize = 1 << 20;

/// How long a client may take to answer our goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// The answer's `Sec-WebSocket-Accept`, if the request is one for a web socket.
pub fn accept(request: &HeaderMap) -> Result<HeaderValue> {
    let has = |name: header::HeaderName, word: &str| {
        let values = request.get_all(name).iter();
        let mut words = values
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','));
        words.any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(ApiError::bad(
            "not a websocket handshake: there is no `Upgrade: websocket`",
        ));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(ApiError::bad(
            "the websocket's version is not supported: it must be 13",
        ));
    }
    let key = request.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| {
        ApiError::bad("not a websocket handshake: there is no `Sec-WebSocket-Key`")
    })?;
    HeaderValue::try_from(handshake::derive_accept_key(key.as_bytes()))
        .map_err(|e| ApiError::Internal(e.to_string()))
}

/// Runs a session to its end.
pub async fn run(client: RawStream, session: AttachSession, binary: bool) {
    let hung_up = client.hung_up();
    let (closing, closed) = oneshot::channel();
    let gone = async {
        tokio::select! {
            () = hung_up => {}
            _ = closed => {}
        }
    };
    let framing = match session.tty {
        true => Framing::Unchanged,
        false => Framing::Unwrapped(Unwrapper::default()),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = WebSocketStream::from_raw_socket(client, Role::Server, Some(config)).await;
    let mut client = Messages {
        socket,
        rest: Bytes::new(),
        binary,
        closing: Some(closing),
    };
    session::run_over(&mut client, gone, session, framing).await;
    // Its own goodbye comes before the connection goes (7.1.1), or it fails in sending that.
    let goodbye = async { while let Some(Ok(_)) = client.socket.next().await {} };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

/// Messages as a stream of bytes.
struct Messages {
    socket: WebSocketStream<RawStream>,
    /// Of a message that has been read in part.
    rest: Bytes,
    /// Told when the client has said goodbye: it reads no more, unlike one whose sending alone has ended.
    closing: Option<oneshot::Sender<()>>,
    /// What is sent are binary messages, else text.
    binary: bool,
}

impl AsyncRead for Messages {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.rest.has_remaining() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Text(text))) => self.rest = text.into(),
                // The library answers a ping.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => {
                    // Whether anybody listens still is no matter.
                    let _ = self.closing.take().map(|closing| closing.send(()));
                    return Poll::Ready(Ok(()));
                }
                Some(Err(e)) => return Poll::Ready(Err(broken(e))),
            }
        }
        let n = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Messages {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        let message = match self.binary {
            true => Message::Binary(Bytes::copy_from_slice(buf)),
            false => Message::text(String::from_utf8_lossy(buf).into_owned()),
        };
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(broken)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            Ok(()) | Err(tungstenite::Error::ConnectionClosed) => Poll::Ready(Ok(())),
            Err(e) => Poll::Ready(Err(broken(e))),
        }
    }
}

fn broken(e: tungstenite::Error) -> io::Error {
    match e {
        tungstenite::Error::Io(e) => e,
        e => io::Error::other(e),
    }
}
