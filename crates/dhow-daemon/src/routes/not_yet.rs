//! What Docker's engine does and this one does not yet: refused with a sentence that says so, rather than as a page that
//! nobody has heard of.

use axum::Router;
use axum::routing::post;
use dhow_api::BuildPruneReport;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::Json;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/build", post(build))
        .route("/build/prune", post(prune))
        .route("/session", post(build))
}

fn refused<T>(sentence: &str) -> Result<T> {
    Err(ApiError::NotImplemented(sentence.to_owned()))
}

async fn build() -> Result<()> {
    refused(
        "building images is not supported yet: build it with another engine, and load or pull it here",
    )
}

/// What nothing was kept of is pruned at once.
async fn prune() -> Json<BuildPruneReport> {
    Json(BuildPruneReport::default())
}
