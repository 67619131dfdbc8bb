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
    let made = state.engine.networks().create(needed(body)?).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn remove(State(state): State<AppState>, Path(id): Path<String>) -> Result<StatusCode> {
    state.engine.networks().remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn connect(
    State(state): State<AppState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkConnectRequest>,
) -> Result<()> {
    let request = needed(body)?;
    let settings = request.endpoint_config.unwrap_or_default();
    let containers = state.engine.containers();
    containers
        .connect(&id, &request.container, settings)
        .await?;
    Ok(())
}

async fn disconnect(
    State(state): State<AppState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<NetworkDisconnectRequest>,
) -> Result<()> {
    let request = needed(body)?;
    let containers = state.engine.containers();
    // Nothing is ever so far lost that force would be needed.
    containers.disconnect(&id, &request.container).await?;
    Ok(())
}

async fn prune(State(state): State<AppState>, params: Params) -> Result<Json<NetworksPruneReport>> {
    let networks = state.engine.networks();
    Ok(Json(networks.prune(&params.filters()?).await?))
}
