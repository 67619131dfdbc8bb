//! Networks: made, shown, removed, and containers connected to them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use dhow_api::{
    Network, NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse,
    NetworkDisconnectRequest, NetworksPruneReport,
};

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};
use crate::legacy;
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/networks", get(list))
        // Some clients ask so.
        .route("/networks/", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(connect))
        .route("/networks/{id}/disconnect", post(disconnect))
}

/// A body that there must be.
fn needed<T>(body: Option<T>) -> Result<T> {
    body.ok_or_else(|| ApiError::bad("invalid JSON: got EOF while reading request body"))
}

async fn list(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Json<Vec<Network>>> {
    let mut networks = state.engine.networks().list(&params.filters()?)?;
    for network in &mut networks {
        legacy::listed_network(network, version);
    }
    Ok(Json(networks))
}

async fn inspect(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Network>> {
    Ok(Json(state.engine.network(&id)?))
}

async fn create(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<NetworkCreateRequest>,
) -> Result<(StatusCode, Json<NetworkCreateResponse>)> {
    let (request, engine) = (needed(body)?, state.engine.clone());
    let made = state
        .finish(async move { engine.networks().create(request).await })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn remove(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode> {
    let engine = state.engine.clone();
    state
        .finish(async move { engine.networks().remove(&id).await })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn connect(
    State(state): State<AppState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkConnectRequest>,
) -> Result<()> {
    let (request, engine) = (needed(body)?, state.engine.clone());
    let settings = request.endpoint_config.unwrap_or_default();
    state
        .finish(async move {
            let containers = engine.containers();
            containers.connect(&id, &request.container, settings).await
        })
        .await
}

async fn disconnect(
    State(state): State<AppState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkDisconnectRequest>,
) -> Result<()> {
    let (request, engine) = (needed(body)?, state.engine.clone());
    // Nothing is ever so far lost that force would be needed.
    state
        .finish(async move {
            let containers = engine.containers();
            containers.disconnect(&id, &request.container).await
        })
        .await
}

async fn prune(State(state): State<AppState>, params: Params) -> Result<Json<NetworksPruneReport>> {
    let (filters, engine) = (params.filters()?, state.engine.clone());
    let report = state
        .finish(async move { engine.networks().prune(&filters).await })
        .await?;
    Ok(Json(report))
}
