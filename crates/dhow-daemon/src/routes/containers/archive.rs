//! Files into and out of containers: an archive of a path, and one put there.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_api::{PATH_STAT_HEADER, PathStat};
use dhow_engine::{ExtractOptions, Files, Part};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;

use crate::coding::Coding;
use crate::error::{ApiError, Result};
use crate::query::Params;
use crate::routes::AppState;

const TAR: &str = "application/x-tar";

pub fn router() -> Router<AppState> {
    Router::new().route(
        "/containers/{id}/archive",
        get(archive).head(stat).put(extract),
    )
}

fn path(params: &Params) -> Result<&str> {
    params
        .text("path")
        .ok_or_else(|| ApiError::bad("bad parameter: path cannot be empty"))
}

fn stat_header(stat: &PathStat) -> Result<HeaderValue> {
    let internal = |e: String| ApiError::Internal(format!("describing a file: {e}"));
    let json = serde_json::to_string(stat).map_err(|e| internal(e.to_string()))?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(|e| internal(e.to_string()))
}

async fn stat(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<HeaderMap> {
    let stat = state.engine.files().stat(&id, path(&params)?).await?;
    let name = HeaderName::from_static(PATH_STAT_HEADER);
    Ok(HeaderMap::from_iter([(name, stat_header(&stat)?)]))
}

async fn archive(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let archive = state.engine.files().archive(&id, path(&params)?).await?;
    let stat = stat_header(&archive.stat)?;
    let archive = archive.stream();
    let mut response = match Coding::negotiated(&headers) {
        None => state.archive(TAR, archive),
        Some(coding) => {
            let mut response = state.archive(TAR, coding.stream(archive));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, coding.header());
            response
        }
    };
    response.headers_mut().insert(PATH_STAT_HEADER, stat);
    Ok(response)
}

async fn extract(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
    body: Body,
) -> Result<StatusCode> {
    let options = ExtractOptions {
        overwrite: !params.flag("noOverwriteDirNonDir"),
        chown: params.flag("copyUIDGID"),
    };
    let (sender, parts) = Files::parts();
    let files = state.engine.files();
    let mut sending = std::pin::pin!(send(body, sender));
    let mut extracting = std::pin::pin!(files.extract(&id, path(&params)?, options, parts));
    tokio::select! {
        done = &mut extracting => done?,
        () = &mut sending => extracting.await?,
    }
    Ok(StatusCode::OK)
}

/// Hands an archive on as it comes, as long as it is wanted.
async fn send(body: Body, parts: mpsc::Sender<Part>) {
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return;
        };
        if parts.send(Part::Data(piece)).await.is_err() {
            return;
        }
    }
    // Nobody is there to be told if it was not wanted to its end.
    let _ = parts.send(Part::End).await;
}
