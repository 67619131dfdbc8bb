//! What attach and exec have in common: a connection that becomes a process's streams.

use std::time::Duration;

use axum::response::Response;
use dhow_api::ApiVersion;
use dhow_engine::AttachSession;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::framing::{self, Framing};
use crate::hijack::{self, RawStream};
use crate::relay::{self, End, Input};

/// What a replay gives the client's reading of the head: some clients read that through a buffer, and past
/// the buffer what follows (docker-py).
const HEAD_START: Duration = Duration::from_millis(5);

/// The answer that hands the connection to a process.
pub fn answer(request: &HeaderMap, version: ApiVersion, session: AttachSession) -> Response {
    let multiplexed = !session.tty;
    hijack::switch(request, version, multiplexed, |client| {
        run(client, session, Framing::Unchanged)
    })
}

/// Runs a session to its end.
pub async fn run(client: RawStream, session: AttachSession, framing: Framing) {
    let gone = client.hung_up();
    run_over(client, gone, session, framing).await;
}

/// The same over what carries the bytes in a form of its own. `gone` is done when the client is gone altogether.
pub async fn run_over<C>(
    mut client: C,
    gone: impl Future<Output = ()> + Send,
    mut session: AttachSession,
    mut framing: Framing,
) where
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Some(mut replay) = session.replay.take() {
        tokio::time::sleep(HEAD_START).await;
        while let Some(piece) = replay.next().await {
            let written = match piece {
                Ok(piece) => client.write_all(&framing.convert(&piece)).await,
                Err(e) => {
                    tracing::warn!("replaying a log: {e}");
                    break;
                }
            };
            if written.is_err() {
                // The client is gone; what it was attached to goes on.
                return;
            }
        }
    }
    let Some(stream) = session.stream.take() else {
        // As above: nobody is left to be told.
        let _ = client.shutdown().await;
        return;
    };
    let input = match session.detach.take() {
        Some(scanner) => Input::Terminal(scanner),
        None if session.stdin => Input::Forward,
        None => Input::Discard,
    };
    let known = session.output_ended();
    if relay::run(client, stream, input, framing, gone, known).await == End::Detached {
        session.detached();
    }
}

/// Says on the stream why there is no process: one frame of output, or plain text for a terminal.
pub async fn refuse(mut client: RawStream, tty: bool, message: &str) {
    let text = format!("{message}\r\n");
    let bytes = if tty {
        text.into_bytes()
    } else {
        framing::frame(text.as_bytes())
    };
    // A client that is gone does not read why.
    let _ = client.write_all(&bytes).await;
    let _ = client.shutdown().await;
}
