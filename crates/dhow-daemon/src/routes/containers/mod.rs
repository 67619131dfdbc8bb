//! Containers: everything that is asked and answered at once, and the streams of logs, wait and stats.

mod archive;
mod attach;
mod create;
mod snapshot;
mod stats;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use bytes::Bytes;
use dhow_api::{
    ApiVersion, ContainerPruneReport, ContainerSummary, ContainerUpdateRequest,
    ContainerUpdateResponse, TopResponse, media_type,
};
use dhow_engine::{ListOptions, LogOptions, RemoveOptions, WaitCondition};
use futures_util::stream;
use http::StatusCode;
use serde_json::Value;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};
use crate::legacy;
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/containers/json", get(list).merge(named("json")))
        .route(
            "/containers/create",
            post(create::create).merge(named("create")),
        )
        .route("/containers/prune", post(prune).merge(named("prune")))
        .route("/containers/{id}", delete(remove))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/top", get(top))
        .route("/containers/{id}/logs", get(logs))
        .route("/containers/{id}/clear-logs", post(clear_logs))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/update", post(update))
        .route("/containers/{id}/wait", post(wait))
        .merge(snapshot::router())
        .merge(archive::router())
        .merge(stats::router())
        .merge(attach::router())
}

async fn list(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Json<Vec<ContainerSummary>>> {
    let options = ListOptions {
        all: params.flag("all"),
        // Negative and zero are no limit.
        limit: params
            .number::<i64>("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        filters: params.filters()?,
    };
    let mut containers = state.engine.containers().list(&options)?;
    for container in &mut containers {
        if params.flag("size") {
            match state.engine.containers().size(&container.id).await {
                Ok((own, all)) => {
                    container.size_rw = signed(own);
                    container.size_root_fs = signed(all);
                }
                // Removed since it was listed.
                Err(e) => tracing::debug!(container = container.id, "no size: {e}"),
            }
        }
        legacy::summary(container, version);
    }
    Ok(Json(containers))
}

async fn inspect(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>> {
    let mut container = state.engine.containers().inspect(&id)?;
    if params.flag("size") {
        let (own, all) = state.engine.containers().size(&container.id).await?;
        container.size_rw = Some(signed(own));
        container.size_root_fs = Some(signed(all));
    }
    legacy::inspect(container, version).map(Json)
}

/// A size as the API has it.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

async fn start(
    State(state): State<AppState>,
    Path(id): Path<String>,
    body: axum::body::Body,
) -> Result<StatusCode> {
    // Docker before 1.22 took a host configuration here; `{}` and less are tolerated.
    if http_body::Body::size_hint(&body)
        .exact()
        .is_none_or(|length| length > 7)
    {
        return Err(ApiError::bad(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().start(&id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The seconds and the signal of a stop; the signal since 1.42.
fn stop_options(params: &Params, version: ApiVersion) -> Result<(Option<i64>, Option<String>)> {
    let signal = match params.text("signal") {
        Some(signal) if version >= ApiVersion::v1(42) => Some(signal.to_owned()),
        _ => None,
    };
    Ok((params.number("t")?, signal))
}

async fn stop(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let (timeout, signal) = stop_options(&params, version)?;
    let engine = state.engine.clone();
    state
        .finish(async move {
            engine
                .containers()
                .stop(&id, timeout, signal.as_deref())
                .await
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let (timeout, signal) = stop_options(&params, version)?;
    let engine = state.engine.clone();
    state
        .finish(async move {
            engine
                .containers()
                .restart(&id, timeout, signal.as_deref())
                .await
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn kill(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let signal = params.text("signal").map(str::to_owned);
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().kill(&id, signal.as_deref()).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode> {
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().pause(&id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unpause(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode> {
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().unpause(&id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rename(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let name = params.get("name").unwrap_or_default().to_owned();
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().rename(&id, &name).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A terminal's new height and width.
pub fn terminal_size(params: &Params) -> Result<(u16, u16)> {
    let read = |name: &str, what: &str| {
        let text = params.get(name).unwrap_or_default();
        text.parse::<u32>()
            // No terminal is larger than its kernel interface can say.
            .map(|n| u16::try_from(n).unwrap_or(u16::MAX))
            .map_err(|_| ApiError::bad(format!("invalid resize {what} {text:?}: invalid syntax")))
    };
    Ok((read("h", "height")?, read("w", "width")?))
}

async fn resize(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let (rows, columns) = terminal_size(&params)?;
    state.engine.streams().resize(&id, rows, columns).await?;
    Ok(StatusCode::OK)
}

async fn update(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ContainerUpdateRequest>,
) -> Result<Json<ContainerUpdateResponse>> {
    let mut request = body.unwrap_or_default();
    let resources = &mut request.resources;
    if version < ApiVersion::v1(40) {
        resources.pids_limit = None;
    }
    if version < ApiVersion::v1(55) {
        resources.blkio_weight_device = None;
        resources.blkio_device_read_bps = None;
        resources.blkio_device_write_bps = None;
        resources.blkio_device_read_iops = None;
        resources.blkio_device_write_iops = None;
    }
    let engine = state.engine.clone();
    let updated = state
        .finish(async move { engine.containers().update(&id, request).await })
        .await?;
    Ok(Json(updated))
}

async fn remove(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let options = RemoveOptions {
        force: params.flag("force"),
        volumes: params.flag("v"),
        link: params.flag("link"),
    };
    let engine = state.engine.clone();
    state
        .finish(async move { engine.containers().remove(&id, options).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is asked of a container whose name is an operation's, too.
fn named(name: &'static str) -> MethodRouter<AppState> {
    delete(move |state, params| remove(state, Path(name.to_owned()), params))
}

async fn prune(
    State(state): State<AppState>,
    params: Params,
) -> Result<Json<ContainerPruneReport>> {
    let filters = params.filters()?;
    let engine = state.engine.clone();
    let report = state
        .finish(async move { engine.containers().prune(&filters).await })
        .await?;
    Ok(Json(report))
}

async fn top(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<TopResponse>> {
    let processes = state
        .engine
        .containers()
        .top(&id, params.get("ps_args").unwrap_or_default())
        .await?;
    Ok(Json(processes))
}

async fn logs(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response> {
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad(
            "must specify at least one of 'stdout' or 'stderr'",
        ));
    }
    let options = LogOptions {
        stdout,
        stderr,
        follow: params.flag("follow"),
        timestamps: params.flag("timestamps"),
        details: params.flag("details"),
        // Anything but a number is all, as in Docker.
        tail: params.text("tail").and_then(|tail| tail.parse().ok()),
        since: params.time("since")?,
        until: params.time("until")?,
    };
    let stream = state.engine.streams().logs(&id, options)?;
    let content_type = if stream.tty || version < ApiVersion::v1(42) {
        media_type::RAW_STREAM
    } else {
        media_type::MULTIPLEXED_STREAM
    };
    Ok(state.stream(content_type, stream))
}

/// No operation of Docker's. The path is none that the removal of a link can have, which is `DELETE /containers/{id}/{alias}`.
async fn clear_logs(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode> {
    let engine = state.engine.clone();
    state
        .finish(async move { engine.streams().clear_logs(&id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn wait(
    State(state): State<AppState>,
    Api(version): Api,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response> {
    let condition = match params.text("condition") {
        // Conditions came with 1.30.
        Some(condition) if version >= ApiVersion::v1(30) => WaitCondition::parse(condition)?,
        _ => WaitCondition::NotRunning,
    };
    // Registered before the head goes out: whoever sees the head may start the container.
    let waiting = state.engine.containers().wait(&id, condition)?;
    let answer = async move {
        let mut text = serde_json::to_vec(&waiting.await)?;
        text.push(b'\n');
        Ok::<_, serde_json::Error>(Bytes::from(text))
    };
    if version < ApiVersion::v1(30) {
        let text = answer
            .await
            .map_err(|e| ApiError::Internal(e.to_string()))?;
        let content_type = (http::header::CONTENT_TYPE, media_type::JSON);
        return Ok(([content_type], text).into_response());
    }
    Ok(state.stream(media_type::JSON, stream::once(answer)))
}
