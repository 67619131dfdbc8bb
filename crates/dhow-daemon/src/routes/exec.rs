//! Further processes in running containers: create, start, resize, inspect.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use dhow_api::{ApiVersion, ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecStartRequest};
use http::{HeaderMap, StatusCode};

use super::containers::terminal_size;
use super::{AppState, session};
use crate::error::{ApiError, Result};
use crate::framing::Framing;
use crate::hijack;
use crate::json::{Json, JsonBody};
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

async fn create(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ExecCreateRequest>,
) -> Result<(StatusCode, Json<ExecCreateResponse>)> {
    let mut request = body.unwrap_or_default();
    if request.cmd.as_ref().is_none_or(Vec::is_empty) {
        return Err(ApiError::bad("No exec command specified"));
    }
    if version < ApiVersion::v1(42) {
        request.console_size = None;
    }
    let id = state.engine.execs().create(&id, request).await?;
    Ok((StatusCode::CREATED, Json(ExecCreateResponse { id })))
}

async fn start(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ExecStartRequest>,
) -> Result<Response> {
    let mut request = body.unwrap_or_default();
    if !request.tty || version < ApiVersion::v1(42) {
        request.console_size = None;
    }
    let engine = state.engine.clone();
    if request.detach {
        state
            .finish(async move { engine.execs().start(&id, request).await.map(drop) })
            .await?;
        return Ok(StatusCode::OK.into_response());
    }
    let process_tty = engine.execs().startable(&id)?;
    let tty = request.tty;
    // The head goes out before the process starts: clients that read it through a buffer lose output that
    // follows at once (docker-py reads past its buffer).
    Ok(hijack::switch(
        &headers,
        version,
        !tty,
        move |client| async move {
            let started = state
                .finish(async move { engine.execs().start(&id, request).await })
                .await;
            match started {
                Ok(Some(attached)) => {
                    session::run(client, attached, Framing::between(process_tty, tty)).await
                }
                Ok(None) => {}
                // The client has its exit code from inspect, and reads why from the stream.
                Err(e) => session::refuse(client, tty, &e.to_string()).await,
            }
        },
    ))
}

async fn resize(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let (rows, columns) = terminal_size(&params)?;
    state.engine.execs().resize(&id, rows, columns).await?;
    Ok(StatusCode::OK)
}

async fn inspect(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<ExecInspect>> {
    Ok(Json(state.engine.execs().inspect(&id)?))
}
