//! `GET /images/get` and `GET /images/{name}/get`: images as an archive.

use std::io;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use dhow_archive::Chunks;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::platforms;
use crate::query::Params;
use crate::routes::{AppState, images};
use crate::version::Api;

/// How many pieces of the archive wait for the client.
const PIECES: usize = 4;

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
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    state.tasks.spawn_blocking(move || {
        let to = Chunks::new(|piece| {
            sender
                .blocking_send(Ok(piece))
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        if let Err(e) = saving.write(to) {
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
    Ok(state.archive("application/x-tar", chunks))
}
