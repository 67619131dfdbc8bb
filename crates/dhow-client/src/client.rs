//! The client: connections that are kept and used again, and the version that is spoken.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;

use bytes::Bytes;
use dhow_api::ApiVersion;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::call::{Body, Call};
use crate::command::CommandEnded;
use crate::connect::Connection;
use crate::error::Error;
use crate::hijack::Hijacked;
use crate::host::Host;
use crate::tls::TlsOptions;

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub host: Host,
    /// Set if the daemon is to be spoken to with TLS.
    pub tls: Option<TlsOptions>,
    /// The version of `DOCKER_API_VERSION`; without one the daemon's own is spoken, or the newest that
    /// this client knows.
    pub version: Option<ApiVersion>,
    /// Sent with each request (`HttpHeaders` of config.json).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub user_agent: String,
}

/// A client of one daemon. Calls may be made side by side; each has a connection to itself while it
/// lasts. Must be used within a tokio runtime.
pub struct Client {
    config: ClientConfig,
    idle: Mutex<Vec<SendRequest<Body>>>,
    /// What the daemon's first answer said that it speaks.
    server_version: Mutex<Option<ApiVersion>>,
}

/// A future whose code is in this crate. That of an `async fn` is compiled where it is awaited, with all
/// that it calls of hyper and serde: in the command line's crate, which is not optimized.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// How many connections without work are kept.
const IDLE_LIMIT: usize = 4;

impl Client {
    pub fn new(config: ClientConfig) -> Client {
        Client {
            config,
            idle: Mutex::new(Vec::new()),
            server_version: Mutex::new(None),
        }
    }

    pub fn host(&self) -> &Host {
        &self.config.host
    }

    /// The version that calls are made in: the one asked for, else the older of the daemon's and ours.
    /// Before the first answer it is not known.
    pub fn version(&self) -> Option<ApiVersion> {
        self.config
            .version
            .or_else(|| lock(&self.server_version).map(|v| v.min(ApiVersion::MAX)))
    }

    /// What the daemon's answers say is its newest version.
    pub fn server_version(&self) -> Option<ApiVersion> {
        *lock(&self.server_version)
    }

    /// Asks `/_ping`, if no answer has told the version yet.
    pub async fn negotiate(&self) -> Result<ApiVersion, Error> {
        if let Some(version) = self.version() {
            return Ok(version);
        }
        self.call(Method::GET, "/_ping").send().await?;
        // A daemon that doesn't say predates the header.
        Ok(self.version().unwrap_or(ApiVersion::MIN))
    }

    /// A call of a path as in the API reference, without version: `/containers/json`.
    pub fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call::new(self, method, path.into())
    }

    pub fn get(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub fn delete(&self, path: impl Into<String>) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The version to write into a path. While the daemon's is not known the path has none, which means
    /// the daemon's newest; that saves the question, and matters only to daemons newer than this client.
    pub(crate) fn path_version(&self) -> Option<ApiVersion> {
        self.version()
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Error> {
        let stream = Connection::open(&self.config.host, self.config.tls.as_ref()).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends by itself when the sender is dropped or the connection closes; its errors reach the caller
        // by way of the request they concern.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// Opens a connection ahead of the call that will use it.
    pub fn warm(&self) -> Boxed<'_, ()> {
        Box::pin(async {
            let sender = self.connect().await?;
            lock(&self.idle).push(sender);
            Ok(())
        })
    }

    /// A kept connection that is free now.
    fn take_ready(&self) -> Option<SendRequest<Body>> {
        let mut idle = lock(&self.idle);
        idle.retain(|kept| !kept.is_closed());
        let at = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(at))
    }

    async fn sender(&self) -> Result<(SendRequest<Body>, bool), Error> {
        if let Some(kept) = self.take_ready() {
            return Ok((kept, true));
        }
        if !lock(&self.idle).is_empty() {
            // The task of a connection whose answer has just been read may not have run yet.
            tokio::task::yield_now().await;
            if let Some(kept) = self.take_ready() {
                return Ok((kept, true));
            }
        }
        Ok((self.connect().await?, false))
    }

    pub(crate) fn send(&self, mut request: Request<Body>) -> Boxed<'_, Response<Incoming>> {
        Box::pin(async move {
            loop {
                let (mut sender, reused) = self.sender().await?;
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        self.learn_version(&response);
                        self.keep(sender);
                        return Ok(response);
                    }
                    Err(mut error) => match error.take_message() {
                        // The daemon has closed a connection that was kept; not a byte was sent.
                        Some(unsent) if reused => request = unsent,
                        _ => return Err(self.explained(error.into_error())),
                    },
                }
            }
        })
    }

    /// A connection by way of another program fails in that program's words.
    fn explained(&self, error: hyper::Error) -> Error {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(failed) = current.downcast_ref::<io::Error>()
                && failed
                    .get_ref()
                    .is_some_and(|inner| inner.is::<CommandEnded>())
            {
                return Error::connect(
                    self.config.host.to_string(),
                    io::Error::other(failed.to_string()),
                );
            }
            cause = current.source();
        }
        error.into()
    }

    /// A connection that no call is made on, to be joined to something else.
    pub fn dial(&self) -> Boxed<'_, Hijacked> {
        Box::pin(async {
            let connection = Connection::open(&self.config.host, self.config.tls.as_ref()).await?;
            Ok(Hijacked::new(connection, Bytes::new(), None))
        })
    }

    /// Keeps a connection, whose answer may still be on its way: it is free again when that has ended.
    fn keep(&self, sender: SendRequest<Body>) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_LIMIT {
            idle.push(sender);
        }
    }

    fn learn_version(&self, response: &Response<Incoming>) {
        let mut known = lock(&self.server_version);
        if known.is_none() {
            *known = response
                .headers()
                .get("api-version")
                .and_then(|value| value.to_str().ok())
                .and_then(|text| text.parse().ok());
        }
    }
}

/// A panic while a lock was held leaves these plain values whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
