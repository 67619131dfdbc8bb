//! The API's routes, a file for each noun, and a folder for the two that have grown.

pub mod containers;
pub mod events;
pub mod exec;
pub mod images;
pub mod networks;
mod not_yet;
pub mod plugins;
pub mod registry;
pub mod session;
pub mod swarm;
pub mod system;
pub mod volumes;

use std::future::Future;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dhow_engine::Engine;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use http::{HeaderValue, header};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{ApiError, Result};
use crate::settings::Settings;

/// What every route can reach.
#[derive(Clone)]
pub struct AppState {
    pub engine: Engine,
    pub settings: Settings,
    /// Ends streams when the daemon ends.
    pub stop: CancellationToken,
    /// Work that is finished even if the client that asked for it goes away.
    pub tasks: TaskTracker,
}

impl AppState {
    /// The registries' client, as it is set up now.
    pub fn distribution(&self) -> dhow_distribution::Client {
        self.settings.current().distribution.clone()
    }

    /// Does something that is not to be left half done: it goes on if the client goes away.
    pub async fn finish<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = dhow_engine::Result<T>> + Send + 'static,
    {
        match self.tasks.spawn(work).await {
            Ok(done) => Ok(done?),
            Err(e) => Err(ApiError::Internal(format!(
                "the request's task failed: {e}"
            ))),
        }
    }

    /// An answer that goes on until the stream, the client or the daemon ends. Its head goes out at once.
    pub fn stream<S, E>(&self, content_type: &'static str, stream: S) -> Response
    where
        S: Stream<Item = std::result::Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let stream = stream.take_until(self.stop.clone().cancelled_owned());
        let mut response = Response::new(Body::from_stream(stream));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    /// An answer that is whole when its stream has ended. One that fails, or that the daemon's end cuts off, breaks off
    /// and does not look whole.
    pub fn archive<S, E>(&self, content_type: &'static str, archive: S) -> Response
    where
        S: Stream<Item = std::result::Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let stop = self.stop.clone();
        let cut_off = stream::once(async move {
            stop.cancelled_owned().await;
            Err(Into::<Box<dyn std::error::Error + Send + Sync>>::into(
                "the daemon ends",
            ))
        });
        let pieces = archive.map_err(Into::into).map(Some);
        let ended = pieces.chain(stream::once(future::ready(None)));
        let body = stream::select(ended, cut_off.map(Some))
            .take_while(|piece| future::ready(piece.is_some()))
            .filter_map(future::ready);
        let mut response = Response::new(Body::from_stream(body));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

/// All routes.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(system::router())
        .merge(events::router())
        .merge(containers::router())
        .merge(exec::router())
        .merge(images::router())
        .merge(networks::router())
        .merge(not_yet::router())
        .merge(plugins::router())
        .merge(swarm::router())
        .merge(volumes::router())
        .with_state(state)
}
