//! JSON bodies, by the rules of Docker's daemon: what it accepts, what it refuses, and in which words.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use dhow_api::read::{TRAILING, from_slice};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Result};

/// The longest JSON body that is read. The largest that real clients send, a container with thousands of
/// labels or hosts, is far below.
const MAX_BODY: usize = 8 << 20;

/// A JSON answer, ended by a newline as Go's encoder ends it.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = match serde_json::to_vec(&self.0) {
            Ok(text) => text,
            Err(e) => {
                tracing::error!("an answer could not be written as JSON: {e}");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        };
        text.push(b'\n');
        let content_type = (header::CONTENT_TYPE, "application/json");
        ([content_type], text).into_response()
    }
}

/// A request's JSON body; without a body it is `None`, and it is the route that knows if that will do.
#[derive(Debug)]
pub struct JsonBody<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>> {
        let (head, body) = request.into_parts();
        // A body of unknown length may yet be empty; only its reading tells.
        let empty = body.size_hint().exact() == Some(0);
        if empty && !head.headers.contains_key(header::CONTENT_TYPE) {
            return Ok(JsonBody(None));
        }
        check_content_type(&head.headers)?;
        if empty {
            return Ok(JsonBody(None));
        }
        parse(&read(body).await?).map(|value| JsonBody(Some(value)))
    }
}

/// Reads a whole body, up to [`MAX_BODY`].
pub async fn read(mut body: axum::body::Body) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ApiError::bad(format!("reading the request body: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > MAX_BODY {
                return Err(ApiError::TooLarge(MAX_BODY));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// Reads a whole document, as Go does.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    from_slice(text).map_err(|e| {
        ApiError::bad(match e.to_string() {
            trailing if trailing == TRAILING => trailing,
            why => format!("invalid JSON: {why}"),
        })
    })
}

fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .map_or("", |v: &HeaderValue| v.to_str().unwrap_or("?"));
    let essence = value.split(';').next().unwrap_or("").trim();
    if essence.is_empty() {
        return Err(ApiError::bad(format!(
            "malformed Content-Type header ({value}): mime: no media type"
        )));
    }
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::bad(format!(
            "unsupported Content-Type header ({value}): must be 'application/json'"
        )));
    }
    Ok(())
}
