//! What Docker's engine does and this one does not yet: refused with a sentence that says so, rather than as a page that
//! nobody has heard of.

use axum::Router;
use axum::routing::{get, post};

use super::AppState;
use crate::error::{ApiError, Result};

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/build", post(build))
        .route("/containers/{id}/attach/ws", get(websocket))
        .route("/networks/create", post(network))
}

fn refused<T>(sentence: &str) -> Result<T> {
    Err(ApiError::NotImplemented(sentence.to_owned()))
}

async fn build() -> Result<()> {
    refused(
        "building images is not supported yet: build it with another engine, and load or pull it here",
    )
}

async fn websocket() -> Result<()> {
    refused("attaching over a websocket is not supported yet: attach without one")
}

async fn network() -> Result<()> {
    refused("networks of one's own are not supported yet: there are bridge, host and none")
}
