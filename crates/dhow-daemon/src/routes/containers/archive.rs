//! Files into and out of containers: an archive of a path, and one put there.

use std::time::Duration;

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

use crate::error::{ApiError, Result};
use crate::query::Params;
use crate::routes::AppState;

/// So much of an archive is read on when its fate is decided: a client that is cut off while it sends does not
/// read why.
const READ_ON: usize = 64 << 20;
const READ_ON_FOR: Duration = Duration::from_secs(2);

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
) -> Result<Response> {
    let archive = state.engine.files().archive(&id, path(&params)?).await?;
    let stat = stat_header(&archive.stat)?;
    // An archive that the daemon's end cuts off must not look whole.
    let stopped = state.stop.clone().cancelled_owned();
    let stopped = futures_util::stream::once(async move {
        stopped.await;
        Err(std::io::Error::other("the daemon ends"))
    });
    let body = archive
        .stream()
        .map(Some)
        .chain(futures_util::stream::once(async { None }));
    let body = futures_util::stream::select(body, stopped.map(Some))
        .take_while(|piece| std::future::ready(piece.is_some()))
        .filter_map(std::future::ready);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(PATH_STAT_HEADER, stat);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
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
    let done = tokio::select! {
        done = &mut extracting => {
            // One that sends nothing more reads the answer already.
            let _ = tokio::time::timeout(READ_ON_FOR, sending).await;
            done
        }
        () = &mut sending => extracting.await,
    };
    done?;
    Ok(StatusCode::OK)
}

/// Hands an archive on as it comes, and what is left of it when nobody wants it any more to nobody.
async fn send(body: Body, parts: mpsc::Sender<Part>) {
    let mut body = body.into_data_stream();
    let mut unwanted = 0;
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return;
        };
        let length = piece.len();
        if parts.send(Part::Data(piece)).await.is_err() {
            unwanted += length;
            if unwanted > READ_ON {
                return;
            }
        }
    }
    // It is known by its own end as well.
    let _ = parts.send(Part::End).await;
}
