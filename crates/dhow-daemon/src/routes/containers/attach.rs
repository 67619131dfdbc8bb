//! `POST /containers/{id}/attach`, and `GET /containers/{id}/attach/ws`.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use dhow_api::ApiVersion;
use dhow_engine::AttachOptions;
use http::HeaderMap;

use crate::error::Result;
use crate::json;
use crate::query::Params;
use crate::routes::{AppState, session};
use crate::version::Api;
use crate::{hijack, websocket};

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/attach/ws", get(attach_websocket))
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
    let session = state.engine.streams().attach(&id, options(&params)).await?;
    Ok(session::answer(&headers, version, session))
}

fn options(params: &Params) -> AttachOptions {
    AttachOptions {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        logs: params.flag("logs"),
        stream: params.flag("stream"),
        detach_keys: params.text("detachKeys").map(str::to_owned),
    }
}

/// Standard output and error come as one stream, without frames.
async fn attach_websocket(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let accept = websocket::accept(&headers)?;
    let mut options = options(&params);
    if version < ApiVersion::v1(42) {
        (options.stdin, options.stdout, options.stderr) = (true, true, true);
    }
    let session = state.engine.streams().attach(&id, options).await?;
    // Before 1.28 as text.
    let binary = version >= ApiVersion::v1(28);
    Ok(hijack::switch_to_websocket(accept, move |client| {
        websocket::run(client, session, binary)
    }))
}
