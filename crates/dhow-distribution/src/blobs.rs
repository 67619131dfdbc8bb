//! Fetching blobs: a stream that is begun again where it broke off, as long as it gets anywhere.

use std::time::Duration;

use bytes::Bytes;
use dhow_image::ImageError;
use dhow_oci::{Descriptor, Digest};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;

use crate::error::{DistributionError, Result};
use crate::session::{Session, header};

/// The first pause before another try; each next is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Fetches a small blob whole.
pub(crate) async fn fetch(
    session: &Session,
    path: &str,
    what: &'static str,
    descriptor: &Descriptor,
    limit: u64,
    attempts: u32,
) -> Result<Vec<u8>> {
    if descriptor.size > limit {
        return Err(DistributionError::Image(ImageError::Document {
            what,
            reason: format!("it has {} bytes, more than {limit}", descriptor.size),
        }));
    }
    let mut download = Download::new(session, path, descriptor, attempts);
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await? {
        bytes.extend_from_slice(&piece);
    }
    if !descriptor.digest.matches(&bytes) {
        return Err(DistributionError::Image(ImageError::WrongDigest {
            what,
            expected: descriptor.digest.clone(),
            found: Digest::sha256(&bytes),
        }));
    }
    Ok(bytes)
}

/// A blob on its way here.
pub(crate) struct Download<'a> {
    session: &'a Session,
    path: &'a str,
    descriptor: &'a Descriptor,
    body: Option<Incoming>,
    /// Bytes to leave out of the body: the registry took no notice of the range.
    skip: u64,
    offset: u64,
    /// Tries since the last byte.
    failures: u32,
    attempts: u32,
}

impl<'a> Download<'a> {
    pub fn new(
        session: &'a Session,
        path: &'a str,
        descriptor: &'a Descriptor,
        attempts: u32,
    ) -> Download<'a> {
        Download {
            session,
            path,
            descriptor,
            body: None,
            skip: 0,
            offset: 0,
            failures: 0,
            attempts,
        }
    }

    /// The next bytes; `None` once all are there. What came is not yet verified.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.try_next().await {
                Ok(piece) => return Ok(piece),
                Err(e) if e.is_passing() => {
                    self.body = None;
                    self.failures += 1;
                    if self.failures >= self.attempts {
                        return Err(self.gave_up(e));
                    }
                    let pause = PAUSE * 2u32.saturating_pow(self.failures - 1);
                    tracing::debug!(
                        blob = %self.descriptor.digest,
                        offset = self.offset,
                        error = %e,
                        "a download is begun again"
                    );
                    tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>> {
        if self.offset == self.descriptor.size && self.offset > 0 {
            return Ok(None);
        }
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.open().await?,
            };
            let next = self.session.next_frame(&mut body).await?;
            self.body = Some(body);
            let Some(mut piece) = next else {
                if self.offset == self.descriptor.size {
                    return Ok(None);
                }
                return Err(DistributionError::Unreachable("unexpected EOF".into()));
            };
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            let piece = piece.split_off(skipped as usize);
            if piece.is_empty() {
                continue;
            }
            self.offset += piece.len() as u64;
            self.failures = 0;
            if self.offset > self.descriptor.size {
                return Err(DistributionError::Image(ImageError::WrongSize {
                    what: "the blob",
                    expected: self.descriptor.size,
                    found: self.offset,
                }));
            }
            return Ok(Some(piece));
        }
    }

    async fn open(&mut self) -> Result<Incoming> {
        let mut headers = HeaderMap::new();
        if self.offset > 0 {
            headers = header(RANGE, &format!("bytes={}-", self.offset))?;
        }
        let path = format!("{}/blobs/{}", self.path, self.descriptor.digest);
        let response = self.session.get(&path, headers).await?;
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                let expected = format!("bytes {}-", self.offset);
                let fits = range
                    .and_then(|r| r.to_str().ok())
                    .is_some_and(|r| r.starts_with(&expected));
                if !fits {
                    return Err(DistributionError::Unreachable(format!(
                        "{} answered with another range than {expected}",
                        self.session.endpoint.authority
                    )));
                }
                0
            }
            _ => self.offset,
        };
        Ok(response.into_body())
    }

    fn gave_up(&self, e: DistributionError) -> DistributionError {
        if self.offset == 0 {
            return e;
        }
        DistributionError::Unreachable(format!(
            "the transfer of {} broke off after {} of {} bytes, {} times without getting further: {e}",
            self.descriptor.digest, self.offset, self.descriptor.size, self.failures
        ))
    }
}
