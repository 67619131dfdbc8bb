//! Images.

use axum::Router;
use dhow_api::ImageSummary;

use super::AppState;
use crate::error::Result;

pub fn router() -> Router<AppState> {
    Router::new()
}

/// All images, for the disk usage.
pub fn summaries(_state: &AppState) -> Result<Vec<ImageSummary>> {
    Ok(Vec::new())
}
