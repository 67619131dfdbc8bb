//! Response bodies: nothing, a few bytes, or a stream of known length.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::storage::BlobStream;

/// A response's body.
pub struct Body(Inner);

enum Inner {
    Bytes(Bytes),
    /// A stream that still owes exactly this many bytes.
    Stream(BlobStream, u64),
}

impl Body {
    pub fn empty() -> Body {
        Body(Inner::Bytes(Bytes::new()))
    }

    pub fn bytes(bytes: impl Into<Bytes>) -> Body {
        Body(Inner::Bytes(bytes.into()))
    }

    /// A stream that yields `length` bytes; one that ends early breaks the response, so that a client never
    /// takes a part for the whole.
    pub fn stream(stream: BlobStream, length: u64) -> Body {
        Body(Inner::Stream(stream, length))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Inner::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(_, 0) => Poll::Ready(None),
            Inner::Stream(stream, remaining) => match stream.as_mut().poll_next(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => match remaining.checked_sub(bytes.len() as u64) {
                    Some(rest) => {
                        *remaining = rest;
                        Poll::Ready(Some(Ok(Frame::data(bytes))))
                    }
                    None => Poll::Ready(Some(Err(io::Error::other(
                        "a blob is longer than its size",
                    )))),
                },
                Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(e))),
                Poll::Ready(None) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.0 {
            Inner::Bytes(bytes) => bytes.len() as u64,
            Inner::Stream(_, remaining) => *remaining,
        })
    }
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let bytes = Bytes::from(value.to_string());
    let mut response = empty_response(status);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    *response.body_mut() = Body::bytes(bytes);
    response
}

/// An answer without a body.
pub(crate) fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
