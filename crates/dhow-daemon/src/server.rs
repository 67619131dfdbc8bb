//! Serves the API on accepted connections: HTTP/1.1 by hyper, until a route takes a connection over.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::error::ApiError;
use crate::hijack::{self, ClientSocket, RawStream, Takeover, Transport};
use crate::link_names;
use crate::listen::Listener;
use crate::read_on::{self, ReadOn};
use crate::rest::Activity;
use crate::version::{self, Api};

/// How long a client may take to send a request's head, and may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// What every connection shares.
#[derive(Clone)]
pub struct Server {
    router: Router,
    /// Ends accepting and every session.
    stop: CancellationToken,
    connections: TaskTracker,
    activity: Activity,
}

/// A session that has been answered for but not begun.
type Pending = Arc<Mutex<Option<(Vec<u8>, Takeover)>>>;

impl Server {
    pub fn new(router: Router, stop: CancellationToken) -> Server {
        let router = router
            .fallback(|| async { ApiError::NoSuchPage })
            .method_not_allowed_fallback(|| async { ApiError::NoSuchPage });
        Server {
            router,
            stop,
            connections: TaskTracker::new(),
            activity: Activity::default(),
        }
    }

    /// What is told of each request.
    pub fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Accepts until told to stop.
    pub async fn serve(self, mut listener: Listener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    let server = self.clone();
                    self.connections.spawn(async move {
                        match accepted.establish().await {
                            Ok(transport) => server.connection(transport).await,
                            Err(e) => tracing::debug!("TLS handshake: {e}"),
                        }
                    });
                }
                Err(e) => {
                    // Mostly a want of descriptors, which passes when connections end.
                    tracing::warn!("accepting a connection on {}: {e}", listener.address());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits until every connection has ended.
    pub async fn drained(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Serves one connection to its end.
    pub async fn connection(&self, transport: Box<dyn Transport>) {
        let (socket, hold_end) = ClientSocket::new(transport);
        let pending = Pending::default();
        let service = service_fn(|request: Request<Incoming>| {
            let mut router = self.router.clone();
            let pending = pending.clone();
            let hold_end = hold_end.clone();
            let stop = self.stop.clone();
            let activity = self.activity.clone();
            // Before the library reads on, which is before it polls the answer.
            hold_end.set(may_take_over(&request));
            let answer = async move {
                activity.happened();
                let mut response = handle(&mut router, request, stop).await;
                activity.happened();
                if let Some(takeover) = response.extensions().get::<Takeover>().cloned() {
                    // The router's, of the body that is not sent.
                    response.headers_mut().remove(header::CONTENT_LENGTH);
                    let head = hijack::render_head(response.status(), response.headers());
                    *lock(&pending) = Some((head, takeover));
                    // The connection is taken away while this waits.
                    return std::future::pending().await;
                }
                hold_end.set(false);
                Ok::<_, Infallible>(response)
            };
            Box::pin(answer) as Pin<Box<dyn Future<Output = _> + Send>>
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            // As Go writes them: shell scripts look for `Api-Version`.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(socket), service);
        let mut stopped = Box::pin(self.stop.clone().cancelled_owned());
        let mut stopping = false;
        let ended = poll_fn(|cx| {
            if !stopping && stopped.as_mut().poll(cx).is_ready() {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let polled = connection.poll_without_shutdown(cx);
            match lock(&pending).take() {
                Some(takeover) => Poll::Ready(Ok(Some(takeover))),
                None => polled.map_ok(|()| None),
            }
        })
        .await;
        let parts = connection.into_parts();
        let socket = parts.io.into_inner();
        match ended {
            Ok(Some((head, takeover))) => {
                self.session(socket.into_raw(parts.read_buf), &head, &takeover)
                    .await;
            }
            Ok(None) => {
                let mut raw = socket.into_raw(parts.read_buf);
                // The answer is out; a client that is gone need not be told goodbye.
                let _ = raw.shutdown().await;
            }
            Err(e) => tracing::debug!("connection: {e}"),
        }
    }

    async fn session(&self, mut stream: RawStream, head: &[u8], takeover: &Takeover) {
        let Some(session) = takeover.take() else {
            return;
        };
        if let Err(e) = stream.write_all(head).await {
            tracing::debug!("answering before a session: {e}");
            return;
        }
        if let Err(e) = stream.flush().await {
            tracing::debug!("answering before a session: {e}");
            return;
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = session(stream) => {}
        }
    }
}

/// Whether a request's route is one of those that [`hijack::switch`].
fn may_take_over(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    match *request.method() {
        Method::POST => {
            path.ends_with("/attach") || (path.contains("/exec/") && path.ends_with("/start"))
        }
        Method::GET => path.ends_with("/attach/ws"),
        _ => false,
    }
}

async fn handle(
    router: &mut Router,
    mut request: Request<Incoming>,
    stop: CancellationToken,
) -> Response {
    let began = Instant::now();
    // A connection that is taken over has no body, or one that belongs to what takes it.
    let as_it_is = may_take_over(&request) || read_on::waits(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match version::split(request.uri()) {
        Err(e) => e.into_response(),
        Ok(_) if method == Method::OPTIONS => StatusCode::OK.into_response(),
        Ok((version, uri)) => {
            *request.uri_mut() = link_names::in_one_segment(&method, uri);
            request.extensions_mut().insert(Api(version));
            let request = request.map(|body| match as_it_is {
                true => Body::new(body),
                false => Body::new(ReadOn::new(body, stop)),
            });
            match router.call(request).await {
                Ok(response) => in_our_form(response).await,
                Err(never) => match never {},
            }
        }
    };
    if response.extensions().get::<Takeover>().is_none() {
        let headers = response.headers_mut();
        headers.insert("Api-Version", api_version());
        // Where it is so, the ping says it.
        headers
            .entry("Docker-Experimental")
            .or_insert(HeaderValue::from_static("false"));
        headers.insert("Ostype", HeaderValue::from_static("linux"));
        headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    }
    tracing::debug!(
        %method,
        path,
        status = response.status().as_u16(),
        milliseconds = began.elapsed().as_millis(),
        "request"
    );
    response
}

/// A refusal of the router's own, such as of a path that is no text, comes without our form.
async fn in_our_form(response: Response) -> Response {
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !response.status().is_client_error() {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), MAX_REFUSAL).await;
    ApiError::bad(match &text {
        Ok(text) => String::from_utf8_lossy(text).into_owned(),
        Err(_) => "the request can't be understood".to_owned(),
    })
    .into_response()
}

/// The router's refusals are a sentence.
const MAX_REFUSAL: usize = 4096;

const SERVER: &str = concat!("Dhow/", env!("CARGO_PKG_VERSION"), " (linux)");

fn api_version() -> HeaderValue {
    HeaderValue::try_from(dhow_api::ApiVersion::MAX.to_string())
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
