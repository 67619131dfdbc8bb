//! What leaves a container: the list of its changes, its root as an archive, and an image made of it.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use dhow_api::{CommitResponse, ContainerChange, ContainerConfig};
use dhow_engine::CommitRequest;
use http::StatusCode;

use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};
use crate::query::Params;
use crate::routes::{AppState, images};

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/containers/{id}/changes", get(changes))
        .route("/containers/{id}/export", get(export))
        .route("/commit", post(commit))
}

/// Null if nothing has changed, as in Docker.
async fn changes(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Option<Vec<ContainerChange>>>> {
    let changes = state.engine.containers().changes(&id).await?;
    let shown = changes.iter().map(|change| ContainerChange {
        path: change.path.to_string_lossy().into_owned(),
        kind: change.kind as u8,
    });
    Ok(Json((!changes.is_empty()).then(|| shown.collect())))
}

async fn export(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response> {
    let archive = state.engine.containers().export(&id).await?;
    Ok(state.archive("application/octet-stream", archive))
}

async fn commit(
    State(state): State<AppState>,
    params: Params,
    JsonBody(config): JsonBody<ContainerConfig>,
) -> Result<(StatusCode, Json<CommitResponse>)> {
    let text = |name: &str| params.get(name).unwrap_or_default().to_owned();
    let reference = match params.text("repo") {
        None => None,
        Some(repository) => Some(images::reference(repository, params.text("tag"))?),
    };
    if reference.as_ref().is_some_and(|r| r.digest().is_some()) {
        return Err(ApiError::bad("cannot import digest reference"));
    }
    let request = CommitRequest {
        container: text("container"),
        reference,
        author: text("author"),
        comment: text("comment"),
        pause: params.flag_or("pause", true),
        changes: params.all("changes").map(str::to_owned).collect(),
        // An object in which nothing is set says as little as null.
        config: config.filter(|config| *config != ContainerConfig::default()),
    };
    let engine = state.engine.clone();
    let id = state
        .finish(async move { engine.images().commit(request).await })
        .await?;
    Ok((StatusCode::CREATED, Json(CommitResponse { id })))
}
