//! One call: its path, query, headers and body, and the ways to read its answer.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Boxed, Client};
use crate::connect::Connection;
use crate::error::Error;
use crate::hijack::Hijacked;
use crate::host::Host;
use crate::json_stream::JsonStream;

/// A request's body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An error's sentence is not longer than this.
const ERROR_LIMIT: usize = 64 * 1024;

/// What a query value or a path segment must not contain as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// References keep their slashes and colons: the daemon's routes expect them.
const ESCAPED_NAME: &AsciiSet = &ESCAPED.remove(b'/').remove(b':').remove(b'@');

/// A name as part of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, ESCAPED_NAME).to_string()
}

/// A call that is being put together.
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Result<Body, Error>,
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a Client, method: Method, path: String) -> Call<'a> {
        Call {
            client,
            method,
            path,
            query: String::new(),
            headers: Vec::new(),
            body: Ok(empty()),
        }
    }

    pub fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        let value = utf8_percent_encode(value.as_ref(), ESCAPED);
        // Writing to a string does not fail.
        let _ = write!(self.query, "{separator}{name}={value}");
        self
    }

    /// Adds `name=1` where it is true; absent means false to the daemon.
    pub fn flag(self, name: &str, value: bool) -> Self {
        if value { self.query(name, "1") } else { self }
    }

    pub fn query_some(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(value)
            .map(|bytes| full(bytes.into()))
            .map_err(|source| Error::Malformed {
                path: self.path.clone(),
                source,
            });
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// Sends what `stream` yields, as it comes.
    pub fn stream_body(
        mut self,
        stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        content_type: &'static str,
    ) -> Self {
        self.body = Ok(StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync());
        self.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    fn request(self, upgrade: bool) -> Result<(&'a Client, String, Request<Body>), Error> {
        let config = self.client.config();
        let (base, authority) = match &config.host {
            // A unix socket has no name, and the header must be there.
            Host::Unix(_) | Host::Ssh(_) => ("", "dhow"),
            Host::Tcp { address, base } => (base.as_str(), address.as_str()),
        };
        let version = match self.client.path_version() {
            Some(version) => format!("/v{version}"),
            None => String::new(),
        };
        let path = format!("{base}{version}{}", self.path);
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{path}{}", self.query))
            .header(HOST, authority)
            .header(USER_AGENT, &config.user_agent);
        for (name, value) in config.headers.iter().chain(&self.headers) {
            request = request.header(name, value);
        }
        if upgrade {
            request = request
                .header(CONNECTION, HeaderValue::from_static("Upgrade"))
                .header(UPGRADE, HeaderValue::from_static("tcp"));
        }
        let body = self.body?;
        let request = request.body(body).map_err(|source| Error::Request {
            path: path.clone(),
            source,
        })?;
        Ok((self.client, path, request))
    }

    /// The answer, if it is a success; its body is still to be read.
    pub fn send(self) -> Boxed<'a, Response<Incoming>> {
        Box::pin(async move {
            let (client, path, request) = self.request(false)?;
            check(client.send(request).await?, &path).await
        })
    }

    /// The answer's status, whose body does not matter.
    pub fn done(self) -> Boxed<'a, StatusCode> {
        Box::pin(async move {
            let response = self.send().await?;
            let status = response.status();
            // Read to its end, so that the connection can be used again.
            response.into_body().collect().await?;
            Ok(status)
        })
    }

    /// The answer's JSON.
    pub async fn read<T: DeserializeOwned>(self) -> Result<T, Error> {
        let path = self.path.clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Malformed { path, source })
    }

    /// The answer's body.
    pub fn bytes(self) -> Boxed<'a, Bytes> {
        Box::pin(async move { Ok(self.send().await?.into_body().collect().await?.to_bytes()) })
    }

    /// The answer as a stream of JSON messages.
    pub async fn messages<T: DeserializeOwned>(self) -> Result<JsonStream<T>, Error> {
        let path = self.path.clone();
        Ok(JsonStream::new(self.send().await?.into_body(), path))
    }

    /// Turns the connection into a stream in both directions.
    pub fn hijack(self) -> Boxed<'a, Hijacked> {
        Box::pin(async move {
            let (client, path, request) = self.request(true)?;
            let response = check(client.send(request).await?, &path).await?;
            let status = response.status();
            if status != StatusCode::SWITCHING_PROTOCOLS {
                return Err(Error::NotHijacked { path, status });
            }
            let content_type = response.headers().get(CONTENT_TYPE).cloned();
            let upgraded = hyper::upgrade::on(response).await?;
            let parts = upgraded
                .downcast::<TokioIo<Connection>>()
                .map_err(|_| io::Error::other("the connection is of a foreign type"))?;
            Ok(Hijacked::new(
                parts.io.into_inner(),
                parts.read_buf,
                content_type,
            ))
        })
    }
}

/// Makes an error of an answer that is none.
async fn check(response: Response<Incoming>, path: &str) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let body = match Limited::new(response.into_body(), ERROR_LIMIT)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        // What counts is the status.
        Err(_) => Bytes::new(),
    };
    Err(Error::Api {
        status,
        message: error_message(status, &body, path),
    })
}

fn error_message(status: StatusCode, body: &[u8], path: &str) -> String {
    if let Ok(error) = serde_json::from_slice::<dhow_api::ErrorResponse>(body)
        && !error.message.is_empty()
    {
        return error.message.trim().to_owned();
    }
    let text = String::from_utf8_lossy(body);
    match text.trim() {
        "" => format!(
            "request returned {status} for API route and version {path}, check if the server supports the requested API version"
        ),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_routes_expect() {
        assert_eq!(
            segment("localhost:5000/a/b:1@sha256:0"),
            "localhost:5000/a/b:1@sha256:0"
        );
        assert_eq!(segment("a b?c#d%"), "a%20b%3Fc%23d%25");
    }

    #[test]
    fn errors_are_read_in_every_form() {
        let status = StatusCode::NOT_FOUND;
        let read = |body: &str| error_message(status, body.as_bytes(), "/v1.50/x");
        assert_eq!(
            read("{\"message\":\"No such image: x\"}\n"),
            "No such image: x"
        );
        assert_eq!(read("404 page not found\n"), "404 page not found");
        assert_eq!(
            read(""),
            "request returned 404 Not Found for API route and version /v1.50/x, check if the server supports the requested API version"
        );
    }
}
