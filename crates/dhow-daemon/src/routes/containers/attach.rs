//! `POST /containers/{id}/attach`.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use dhow_engine::AttachOptions;
use http::HeaderMap;

use crate::error::Result;
use crate::json;
use crate::query::Params;
use crate::routes::{AppState, session};
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new().route("/containers/{id}/attach", post(attach))
}

async fn attach(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Response> {
    // Some clients send a body; it is no part of the stream.
    json::read(body).await?;
    let options = AttachOptions {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        logs: params.flag("logs"),
        stream: params.flag("stream"),
        detach_keys: params.text("detachKeys").map(str::to_owned),
    };
    let session = state.engine.streams().attach(&id, options).await?;
    Ok(session::answer(&headers, version, session))
}
