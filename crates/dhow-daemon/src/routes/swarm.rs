//! Swarms, and what lives in them: nodes, services, tasks, secrets, configs. This engine is in none, and says
//! so in the words of Docker's engine that is in none.

use axum::Router;
use axum::routing::{get, post};
use dhow_api::ApiVersion;
use serde_json::Value;

use super::AppState;
use crate::error::{ApiError, Result};
use crate::json::JsonBody;
use crate::query::Params;
use crate::version::Api;

const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// The kinds of objects with the version that each came with.
const KINDS: [(&str, u16); 5] = [
    ("services", 24),
    ("nodes", 24),
    ("tasks", 24),
    ("secrets", 25),
    ("configs", 30),
];

pub fn router() -> Router<AppState> {
    let mut router = Router::new()
        .route("/swarm", get(no_manager))
        .route("/swarm/init", post(not_here))
        .route("/swarm/join", post(not_here))
        .route("/swarm/leave", post(leave))
        .route("/swarm/unlockkey", get(no_manager))
        .route("/swarm/update", post(asks))
        .route("/swarm/unlock", post(asks));
    for (kind, since) in KINDS {
        let list = move |api: Api, params: Params| list(api, params, since);
        let one = move |api: Api| one(api, since);
        let change = move |api: Api, body: JsonBody<Value>| change(api, body, since);
        router = router.route(&format!("/{kind}"), get(list));
        let path = format!("/{kind}/{{id}}");
        router = match kind {
            "tasks" => router
                .route(&path, get(one))
                .route(&format!("{path}/logs"), get(one)),
            "nodes" => router
                .route(&path, get(one).delete(one))
                .route(&format!("{path}/update"), post(change)),
            _ => router
                .route(&format!("/{kind}/create"), post(change))
                .route(&path, get(one).delete(one))
                .route(&format!("{path}/update"), post(change)),
        };
    }
    router.route("/services/{id}/logs", get(no_manager))
}

/// An object that came with version 1.`since`.
fn check(Api(version): Api, since: u16) -> Result<()> {
    if version < ApiVersion::v1(since) {
        return Err(ApiError::NoSuchPage);
    }
    Err(ApiError::Unavailable(NO_MANAGER.into()))
}

async fn no_manager() -> Result<()> {
    Err(ApiError::Unavailable(NO_MANAGER.into()))
}

/// A body that can't be read is the client's mistake in any swarm, or none.
async fn asks(_: JsonBody<Value>) -> Result<()> {
    no_manager().await
}

async fn list(api: Api, params: Params, since: u16) -> Result<()> {
    params.filters()?;
    check(api, since)
}

async fn one(api: Api, since: u16) -> Result<()> {
    check(api, since)
}

async fn change(api: Api, _: JsonBody<Value>, since: u16) -> Result<()> {
    check(api, since)
}

async fn leave() -> Result<()> {
    Err(ApiError::Unavailable(
        "This node is not part of a swarm".into(),
    ))
}

async fn not_here(_: JsonBody<Value>) -> Result<()> {
    Err(ApiError::NotImplemented(
        "swarms are not supported: this engine runs the containers of one node".into(),
    ))
}
