//! Networks: list and inspect, and what concerns those of one's own, of which there are none yet.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use dhow_api::{Network, NetworksPruneReport};

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::Json;
use crate::legacy;
use crate::query::Params;
use crate::version::Api;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/networks", get(list))
        // Some clients ask so.
        .route("/networks/", get(list))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
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

async fn remove(State(state): State<AppState>, Path(id): Path<String>) -> Result<()> {
    let network = state.engine.network(&id)?;
    Err(ApiError::Forbidden(format!(
        "{} is a pre-defined network and cannot be removed",
        network.name
    )))
}

/// Those that are always there are never removed.
async fn prune(params: Params) -> Result<Json<NetworksPruneReport>> {
    params
        .filters()?
        .validate(&["label", "label!", "until"])
        .map_err(|e| ApiError::bad(e.to_string()))?;
    Ok(Json(NetworksPruneReport::default()))
}
