//! `GET /containers/{id}/stats`: what a container uses of its host, once or once a second.
//!
//! Each sample carries the one before it, from which clients work out a share of the processors. A single
//! answer waits a second for its second sample, unless the client asks for `one-shot`.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use dhow_api::{Stats, media_type};
use dhow_engine::EngineError;
use futures_util::stream;

use crate::error::Result;
use crate::json::Json;
use crate::query::Params;
use crate::routes::AppState;

const INTERVAL: Duration = Duration::from_secs(1);

pub fn router() -> Router<AppState> {
    Router::new().route("/containers/{id}/stats", get(stats))
}

async fn stats(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response> {
    let first = state.engine.containers().stats(&id).await?;
    // The name may pass to another container while this one is watched.
    let id = first.id.clone();
    if !params.flag_or("stream", true) {
        if params.flag("one-shot") {
            return Ok(Json(first).into_response());
        }
        tokio::time::sleep(INTERVAL).await;
        let second = state.engine.containers().stats(&id).await?;
        return Ok(Json(after(&first, second)).into_response());
    }
    let engine = state.engine.clone();
    let samples = stream::unfold(Some((first, true)), move |last| {
        let (engine, id) = (engine.clone(), id.clone());
        async move {
            let (last, is_first) = last?;
            let sample = if is_first {
                last
            } else {
                tokio::time::sleep(INTERVAL).await;
                match engine.containers().stats(&id).await {
                    Ok(next) => after(&last, next),
                    // It has been removed: the stream is at its end.
                    Err(EngineError::NoSuchContainer(_)) => return None,
                    Err(e) => return Some((Err(std::io::Error::other(e)), None)),
                }
            };
            match line(&sample) {
                Ok(text) => Some((Ok(text), Some((sample, false)))),
                Err(e) => Some((Err(e.into()), None)),
            }
        }
    });
    Ok(state.stream(media_type::JSON, samples))
}

fn after(last: &Stats, mut next: Stats) -> Stats {
    next.preread.clone_from(&last.read);
    next.precpu_stats = last.cpu_stats.clone();
    next
}

fn line(sample: &Stats) -> serde_json::Result<Bytes> {
    let mut text = serde_json::to_vec(sample)?;
    text.push(b'\n');
    Ok(text.into())
}
