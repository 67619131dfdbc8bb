//! `POST /images/load`.
//!
//! As with a peer, what is wrong with the archive is said in the answer's stream: only a query that can't be
//! understood has a status of its own.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dhow_api::JsonMessage;
use dhow_distribution::ProgressEvent;
use dhow_engine::Loading;
use dhow_image::Archive;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::error::{ApiError, Result};
use crate::outbox::Told;
use crate::platforms;
use crate::progress;
use crate::query::Params;
use crate::routes::AppState;
use crate::version::Api;

pub async fn load(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
    request: Request,
) -> Result<Response> {
    let platforms = platforms::asked(&params, version)?;
    let quiet = params.flag_or("quiet", true);
    let archive = match receive(&state, request.into_body()).await {
        Ok(archive) => archive,
        Err(e) => {
            tracing::info!("an archive of images was refused: {e}");
            let line = progress::line(&JsonMessage::failure(e.to_string()));
            let stream = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(line)]);
            return Ok(state.stream("application/json", stream));
        }
    };
    let own = state.clone();
    Ok(progress::stream(&state, move |report| async move {
        let cancel = CancellationToken::new();
        // Dropped with this task, which is ended when the client goes away.
        let _guard = cancel.clone().drop_guard();
        let tasks = own.tasks.clone();
        let loaded = tasks.spawn_blocking(move || {
            let tell = |loading: Loading| match loading {
                Loading::Layer { .. } if quiet => {}
                Loading::Layer {
                    diff_id,
                    current,
                    total,
                } => report(Told::Transfer(ProgressEvent::Part {
                    id: diff_id.short().to_owned(),
                    state: "Loading layer".into(),
                    amount: Some((current, total)),
                })),
                Loading::Line(line) => report(Told::Stream(format!("{line}\n"))),
            };
            let images = own.engine.images();
            images.load(&archive, &platforms, &tell, &|| cancel.is_cancelled())
        });
        let loaded = loaded.await;
        Ok(loaded.map_err(|e| ApiError::Internal(format!("loading failed: {e}")))??)
    }))
}

/// Takes the archive in, all of it.
async fn receive(state: &AppState, body: Body) -> Result<Archive> {
    let store = state.engine.images().store().clone();
    let sink = store.receive_archive()?;
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let bytes = frame.map_err(|e| ApiError::bad(format!("reading the archive: {e}")))?;
        if !sink.send(bytes).await {
            break;
        }
    }
    Ok(sink.finish().await?)
}
