//! Networks: list and inspect.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use dhow_api::Network;

use super::AppState;
use crate::error::Result;
use crate::json::Json;
use crate::query::Params;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/networks", get(list))
        // Some clients ask so.
        .route("/networks/", get(list))
        .route("/networks/{id}", get(inspect))
}

async fn list(State(state): State<AppState>, params: Params) -> Result<Json<Vec<Network>>> {
    Ok(Json(state.engine.networks().list(&params.filters()?)?))
}

async fn inspect(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Network>> {
    Ok(Json(state.engine.network(&id)?))
}
