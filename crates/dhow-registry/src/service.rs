//! The service: one request in, one response out, whatever carries them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use crate::RegistryError;
use crate::body::{Body, json_response};
use crate::route::Route;
use crate::storage::Storage;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Bytes of a refused request that are still read.
const DRAIN_MAX: usize = 16 << 20;
/// By this header older clients tell a registry from any other web server.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a registry's operator may set of the service itself.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// How long a client that is sending a body may send nothing.
    pub receive_timeout: Duration,
    /// Takes manifests that refer to content which isn't here, as a mirror of chosen platforms needs.
    pub sparse: bool,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        RegistryConfig {
            receive_timeout: Duration::from_secs(60),
            sparse: false,
        }
    }
}

/// A registry on a storage. Cheap to clone.
pub struct Registry<S>(Arc<Shared<S>>);

struct Shared<S> {
    storage: S,
    config: RegistryConfig,
}

impl<S> Clone for Registry<S> {
    fn clone(&self) -> Self {
        Registry(self.0.clone())
    }
}

impl<S: Storage> Registry<S> {
    pub fn new(storage: S, config: RegistryConfig) -> Registry<S> {
        Registry(Arc::new(Shared { storage, config }))
    }

    pub fn storage(&self) -> &S {
        &self.0.storage
    }

    pub(crate) fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    /// Answers one request. Never fails: an error is an answer, too.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let mut response = match self.dispatch(request).await {
            Ok(response) => response,
            Err(e) => {
                if e.status().is_server_error() {
                    tracing::error!(%method, path = uri.path(), error = %e, "request failed");
                } else {
                    tracing::debug!(%method, path = uri.path(), error = %e, "request refused");
                }
                e.into_response()
            }
        };
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
            .headers_mut()
            .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        tracing::debug!(
            %method,
            path = uri.path(),
            query = uri.query(),
            status = response.status().as_u16(),
            microseconds = started.elapsed().as_micros() as u64,
            "request"
        );
        response
    }

    async fn dispatch<B>(&self, request: Request<B>) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let (parts, mut body) = request.into_parts();
        let answer = self.answer(parts, &mut body).await;
        if answer.is_err() {
            drain(&mut body, self.0.config.receive_timeout).await;
        }
        answer
    }

    async fn answer<B>(&self, parts: Parts, body: &mut B) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let route = Route::parse(parts.uri.path())?;
        let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
        // Who may do what to which repository is to be decided here, where both are known and nothing has
        // been done yet.
        match (route, method) {
            (Route::Base, &Method::GET | &Method::HEAD) => {
                Ok(json_response(StatusCode::OK, &json!({})))
            }
            (Route::Catalog, &Method::GET) => self.catalog(uri).await,
            (Route::Tags(name), &Method::GET) => self.list_tags(uri, &name).await,
            (Route::Referrers(name, subject), &Method::GET) => {
                self.list_referrers(uri, &name, &subject).await
            }
            (Route::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
                self.get_manifest(method, headers, &name, &reference).await
            }
            (Route::Manifest(name, reference), &Method::PUT) => {
                self.put_manifest(uri, headers, body, &name, &reference)
                    .await
            }
            (Route::Manifest(name, reference), &Method::DELETE) => {
                self.delete_manifest(&name, &reference).await
            }
            (Route::Blob(name, digest), &Method::GET | &Method::HEAD) => {
                self.get_blob(method, headers, &name, &digest).await
            }
            (Route::Blob(name, digest), &Method::DELETE) => self.delete_blob(&name, &digest).await,
            (Route::Uploads(name), &Method::POST) => {
                self.start_upload(uri, headers, body, &name).await
            }
            (Route::Upload(name, id), &Method::GET) => self.upload_status(&name, id).await,
            (Route::Upload(name, id), &Method::PATCH) => {
                self.append_upload(headers, body, &name, id).await
            }
            (Route::Upload(name, id), &Method::PUT) => {
                self.finish_upload(uri, headers, body, &name, id).await
            }
            (Route::Upload(name, id), &Method::DELETE) => self.cancel_upload(&name, id).await,
            (route, _) => Err(RegistryError::MethodNotAllowed {
                method: parts.method,
                allow: allowed(&route),
            }),
        }
    }
}

fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Base => "GET, HEAD",
        Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET",
        Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Route::Blob(..) => "GET, HEAD, DELETE",
        Route::Uploads(_) => "POST",
        Route::Upload(..) => "GET, PATCH, PUT, DELETE",
    }
}

/// Reads what is left of a refused request. A client that is still sending when the connection closes may
/// never see the answer; but only so much of its time and ours is worth that.
async fn drain<B>(body: &mut B, timeout: Duration)
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    let mut left = DRAIN_MAX;
    while let Ok(Some(bytes)) = next_frame(body, timeout).await {
        left = left.saturating_sub(bytes.len());
        if left == 0 {
            return;
        }
    }
}

/// The next bytes of a request's body, none at its end.
pub(crate) async fn next_frame<B>(
    body: &mut B,
    timeout: Duration,
) -> Result<Option<Bytes>, RegistryError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
{
    loop {
        let frame = tokio::time::timeout(timeout, body.frame())
            .await
            .map_err(|_| RegistryError::Timeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(e)) => return Err(RegistryError::Receive(e.into().to_string())),
            // Trailers say nothing that we ask for.
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
