//! `GET /images/get` and `GET /images/{name}/get`: images as an archive.

use std::io::{self, Write};

use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::platforms;
use crate::query::Params;
use crate::routes::{AppState, images};
use crate::version::Api;

/// What goes out at once, and how much of it waits for the client.
const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 4;

pub async fn several(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Response> {
    let names = params.all("names").map(str::to_owned).collect();
    save(state, names, version, &params).await
}

pub async fn save(
    state: AppState,
    names: Vec<String>,
    version: dhow_api::ApiVersion,
    params: &Params,
) -> Result<Response> {
    let platforms = platforms::asked(params, version)?;
    // What can't be saved is said before the answer begins.
    let saving = images::blocking(&state, move |state| {
        Ok(state.engine.images().save(&names, &platforms)?)
    })
    .await?;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    state.tasks.spawn_blocking(move || {
        let writer = Chunked {
            chunk: BytesMut::with_capacity(CHUNK),
            sender: sender.clone(),
        };
        if let Err(e) = saving.write(writer) {
            if sender.is_closed() {
                return tracing::debug!("a client went away from an archive of images");
            }
            tracing::error!("writing an archive of images: {e}");
            // The connection is closed on it, so that the client sees that the archive is not whole.
            let _ = sender.blocking_send(Err(io::Error::other(e.to_string())));
        }
    });
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    Ok(state.stream("application/x-tar", chunks))
}

/// What is written, as chunks of an answer.
struct Chunked {
    chunk: BytesMut,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        self.chunk.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(full.freeze()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
