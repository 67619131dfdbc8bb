//! The daemon about itself: ping, version, info, disk usage.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dhow_api::{DiskUsage, Version};
use http::{Method, header};
use serde_json::Value;

use super::AppState;
use crate::error::Result;
use crate::json::Json;
use crate::query::Params;
use crate::version::Api;
use crate::{disk_usage, info, legacy};

pub fn router() -> Router<AppState> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version))
        .route("/info", get(information))
        .route("/system/df", get(disk_usage))
}

/// Answered also by HEAD, which clients ask first of all.
async fn ping(State(state): State<AppState>, method: Method) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    let body = if method == Method::HEAD { "" } else { "OK" };
    let mut response = (headers, body).into_response();
    let headers = response.headers_mut();
    if state.settings.current().config.experimental {
        let on = http::HeaderValue::from_static("true");
        headers.insert("Docker-Experimental", on);
    }
    // There is no BuildKit here.
    headers.insert("Builder-Version", http::HeaderValue::from_static("1"));
    headers.insert("Swarm", http::HeaderValue::from_static("inactive"));
    response
}

async fn version(State(state): State<AppState>) -> Json<Version> {
    Json(info::version(state.settings.current().config.experimental))
}

async fn information(State(state): State<AppState>, Api(version): Api) -> Result<Json<Value>> {
    let mut info = info::info(&state);
    info::add_devices(&state, &mut info).await;
    legacy::info(info, version).map(Json)
}

async fn disk_usage(
    State(state): State<AppState>,
    Api(version): Api,
    params: Params,
) -> Result<Json<DiskUsage>> {
    let usage = disk_usage::disk_usage(&state.engine, &params, version).await?;
    Ok(Json(usage))
}
