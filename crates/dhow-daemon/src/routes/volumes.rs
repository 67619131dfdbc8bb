//! Volumes.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get, post};
use dhow_api::{ApiVersion, Volume, VolumeCreateRequest, VolumeList, VolumePruneReport};
use http::StatusCode;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create).merge(named("create")))
        .route("/volumes/prune", post(prune).merge(named("prune")))
        .route("/volumes/{name}", get(inspect).put(update).delete(remove))
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

/// What is asked of a volume whose name is an operation's, too.
fn named(name: &'static str) -> MethodRouter<AppState> {
    get(move |state| inspect(state, Path(name.to_owned())))
        .put(update)
        .delete(move |state, params| remove(state, Path(name.to_owned()), params))
}

/// Of volumes that a swarm has.
async fn update() -> Result<()> {
    Err(ApiError::Unavailable(
        "volume update only valid for cluster volumes, but swarm is unavailable".to_owned(),
    ))
}

async fn prune(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Json<VolumePruneReport>> {
    let mut filters = params.filters()?;
    if version < ApiVersion::v1(42) {
        // Older clients mean the named ones, too.
        filters.add("all", "true");
    }
    let engine = state.engine.clone();
    let report = state
        .finish(async move { engine.volumes().prune(&filters).await })
        .await?;
    Ok(Json(report))
}
