//! Plugins: there are none, and none can be had.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use serde_json::Value;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::Json;
use crate::query::Params;

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/privileges", get(unsupported))
        .route("/plugins/pull", post(unsupported))
        .route("/plugins/create", post(unsupported))
        .route("/plugins/{*path}", get(inspect).delete(remove).post(change))
}

async fn list(params: Params) -> Result<Json<[Value; 0]>> {
    params
        .filters()?
        .validate(&["enabled", "capability"])
        .map_err(|e| ApiError::bad(e.to_string()))?;
    Ok(Json([]))
}

/// A name may have slashes in it: what is done is told by the end of the path.
async fn inspect(Path(path): Path<String>) -> Result<()> {
    missing(path.strip_suffix("/json"))
}

async fn remove(Path(path): Path<String>) -> Result<()> {
    missing(Some(&path))
}

async fn change(Path(path): Path<String>) -> Result<()> {
    let actions = ["/enable", "/disable", "/push", "/upgrade", "/set"];
    missing(actions.iter().find_map(|action| path.strip_suffix(action)))
}

fn missing(name: Option<&str>) -> Result<()> {
    Err(match name {
        Some(name) => ApiError::NotFound(format!("plugin {name:?} not found")),
        None => ApiError::NoSuchPage,
    })
}

async fn unsupported() -> Result<()> {
    Err(ApiError::NotImplemented(
        "plugins are not supported: what they add is built in, or not to be had".into(),
    ))
}
