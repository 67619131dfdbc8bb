//! Volumes.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use dhow_api::{Volume, VolumeCreateRequest, VolumeList, VolumePruneReport};
use http::StatusCode;

use super::AppState;
use crate::error::Result;
use crate::json::{Json, JsonBody};
use crate::query::Params;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove))
}

async fn list(State(state): State<AppState>, params: Params) -> Result<Json<VolumeList>> {
    Ok(Json(state.engine.volumes().list(&params.filters()?)?))
}

async fn create(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<VolumeCreateRequest>,
) -> Result<(StatusCode, Json<Volume>)> {
    let request = body.unwrap_or_default();
    let engine = state.engine.clone();
    let volume = state
        .finish(async move { engine.volumes().create(request).await })
        .await?;
    // Also for one that was there.
    Ok((StatusCode::CREATED, Json(volume)))
}

async fn inspect(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<Volume>> {
    Ok(Json(state.engine.volumes().get(&name)?))
}

async fn remove(
    State(state): State<AppState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<StatusCode> {
    let force = params.flag("force");
    let engine = state.engine.clone();
    state
        .finish(async move { engine.volumes().remove(&name, force).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(State(state): State<AppState>, params: Params) -> Result<Json<VolumePruneReport>> {
    let filters = params.filters()?;
    let engine = state.engine.clone();
    let report = state
        .finish(async move { engine.volumes().prune(&filters).await })
        .await?;
    Ok(Json(report))
}
