//! Pushing: what the registry lacks of an image, its layers side by side, then the configuration, then
//! the manifest that names them all.
//!
//! An image that was pulled is pushed by the manifest that it came by, byte for byte, so that its digest
//! is the same on both sides.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dhow_image::{Image, ImageError, Images};
use dhow_oci::{Descriptor, Digest, Document, Manifest, Reference, media_type};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio_util::io::ReaderStream;

use crate::auth::Auth;
use crate::client::Client;
use crate::error::{DistributionError, Result, joined};
use crate::progress::{Progress, Reporter, Throttle};
use crate::session::{Body, Session, empty, full, header};

/// Bytes read from a blob at once.
const CHUNK: usize = 256 << 10;

/// What a push came to.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub digest: Digest,
    /// Of the manifest, in bytes.
    pub size: u64,
}

impl Client {
    /// Pushes the image that `reference`, a name and tag, is here.
    pub async fn push(
        &self,
        images: &Images,
        reference: &Reference,
        auth: Option<Auth>,
        progress: Progress,
    ) -> Result<Pushed> {
        let reference = reference.clone().with_default_tag();
        let image = images
            .resolve(&reference.to_string())
            .map_err(|_| missing(&reference))?;
        self.push_image(images, image, &reference, auth, progress)
            .await
    }

    /// Pushes an image as `reference`, a name and tag, whatever that is here.
    pub async fn push_image(
        &self,
        images: &Images,
        image: Arc<Image>,
        reference: &Reference,
        auth: Option<Auth>,
        progress: Progress,
    ) -> Result<Pushed> {
        let report = Reporter(progress);
        let reference = reference.clone().with_default_tag();
        let Some(tag) = reference.tag().map(str::to_owned) else {
            return Err(DistributionError::Invalid(
                "cannot push a digest reference".into(),
            ));
        };
        report.message(format!(
            "The push refers to repository [{}]",
            reference.name()
        ));
        let parts = {
            let (images, image, report) = (images.clone(), image.clone(), report.clone());
            for diff_id in image.config.rootfs.diff_ids.iter().rev() {
                report.part(diff_id.short(), "Preparing");
            }
            joined(tokio::task::spawn_blocking(move || Parts::of(&images, &image)).await)??
        };
        let session = self
            .reach(&reference, auth.as_ref(), images, &parts)
            .await?;
        let push = Push {
            session,
            images: images.clone(),
            reference: reference.clone(),
            report,
            attempts: self.shared.config.max_attempts,
        };
        push.layers(&image, &parts, self.shared.config.max_concurrent_uploads)
            .await?;
        let none = HashMap::new();
        push.blob(&parts.manifest.config, None, &none).await?;
        push.manifest(&tag, &parts).await?;
        push.report.message(format!(
            "{tag}: digest: {} size: {}",
            parts.descriptor.digest, parts.descriptor.size
        ));
        push.report.pushed(
            &tag,
            &parts.descriptor.digest.to_string(),
            parts.descriptor.size,
        );
        let pushed = Pushed {
            digest: parts.descriptor.digest.clone(),
            size: parts.descriptor.size,
        };
        let images = images.clone();
        let recorded =
            tokio::task::spawn_blocking(move || parts.record(&images, &image, &reference));
        joined(recorded.await)??;
        Ok(pushed)
    }

    /// The endpoint that takes pushes, found by asking each.
    async fn reach(
        &self,
        reference: &Reference,
        auth: Option<&Auth>,
        images: &Images,
        parts: &Parts,
    ) -> Result<Arc<Session>> {
        let mut scopes = vec![format!("repository:{}:pull,push", reference.path())];
        for layer in &parts.manifest.layers {
            for source in mountable(images, &layer.digest, reference) {
                let scope = format!("repository:{source}:pull");
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
        }
        let mut failure = None;
        for endpoint in self.registry(reference.domain()) {
            let session = self.session(endpoint, auth, scopes.clone());
            let probe = match session.endpoint.url("") {
                Ok(uri) => {
                    session
                        .send(Method::GET, uri, HeaderMap::new(), || Ok(empty()))
                        .await
                }
                Err(e) => Err(e),
            };
            match probe {
                Ok(_) => {
                    self.answered(reference.domain(), &session.endpoint);
                    return Ok(session);
                }
                Err(e @ DistributionError::Unreachable(_)) => {
                    failure.get_or_insert(e);
                }
                Err(e) => return Err(e),
            }
        }
        Err(failure.unwrap_or_else(|| {
            DistributionError::Unreachable(format!("no registry for {}", reference.familiar()))
        }))
    }
}

fn missing(reference: &Reference) -> DistributionError {
    DistributionError::NotFound(format!(
        "An image does not exist locally with the tag: {}",
        reference.familiar_name()
    ))
}

/// Other repositories of the same registry that are known to have a blob.
fn mountable(images: &Images, blob: &Digest, reference: &Reference) -> Vec<String> {
    let prefix = format!("{}/", reference.domain());
    let mut paths: Vec<String> = images
        .sources(blob)
        .iter()
        .filter_map(|name| name.strip_prefix(&prefix))
        .filter(|path| *path != reference.path())
        .map(str::to_owned)
        .collect();
    paths.truncate(3);
    paths
}

/// What an image is pushed as.
struct Parts {
    manifest: Manifest,
    bytes: Bytes,
    descriptor: Descriptor,
}

impl Parts {
    /// The manifest that the image came by, or a new one. Blocks.
    fn of(images: &Images, image: &Image) -> Result<Parts> {
        if let Some(known) = image.manifest()
            && let Ok(bytes) = images.read_document(&known.digest)
            && let Ok(Document::Manifest(manifest)) = Document::parse(&known.media_type, &bytes)
        {
            return Ok(Parts {
                manifest: *manifest,
                bytes: bytes.into(),
                descriptor: known.clone(),
            });
        }
        let mut layers = Vec::new();
        for chain in &image.chain {
            let layer = images.layer_for_push(chain)?.ok_or_else(|| {
                DistributionError::Invalid(format!(
                    "the compressed layer {} is not kept here any more: pull the image again before pushing it",
                    chain.short()
                ))
            })?;
            layers.push(layer);
        }
        let config_size = images.blob_size(&image.id).unwrap_or(0);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), config_size),
            layers,
            subject: None,
            annotations: Default::default(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| ImageError::Document {
            what: "manifest",
            reason: e.to_string(),
        })?;
        let size = bytes.len() as u64;
        Ok(Parts {
            descriptor: Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(&bytes), size),
            manifest,
            bytes: bytes.into(),
        })
    }

    /// Remembers what the registry now has. Blocks.
    fn record(&self, images: &Images, image: &Image, reference: &Reference) -> Result<()> {
        let ingest = images.begin();
        ingest.put_document_as(&self.bytes, self.descriptor.digest.algorithm())?;
        let names = [reference.with_digest(self.descriptor.digest.clone())];
        ingest.commit(&image.id, std::slice::from_ref(&self.descriptor), &names)?;
        let blobs: Vec<_> = self
            .manifest
            .layers
            .iter()
            .map(|l| l.digest.clone())
            .collect();
        images.add_sources(reference, &blobs)?;
        Ok(())
    }
}

struct Push {
    session: Arc<Session>,
    images: Images,
    reference: Reference,
    report: Reporter,
    attempts: u32,
}

impl Push {
    async fn layers(&self, image: &Image, parts: &Parts, at_once: usize) -> Result<()> {
        let at_once = at_once.max(1);
        // A blob that is several layers is sent once.
        let mut seen = HashMap::new();
        let mut jobs = Vec::new();
        for (layer, diff_id) in parts
            .manifest
            .layers
            .iter()
            .zip(&image.config.rootfs.diff_ids)
        {
            if seen.insert(layer.digest.clone(), ()).is_none() {
                jobs.push((layer, diff_id));
            }
        }
        for (_, diff_id) in jobs.iter().skip(at_once) {
            self.report.part(diff_id.short(), "Waiting");
        }
        let sources: HashMap<Digest, Vec<String>> = jobs
            .iter()
            .map(|(l, _)| {
                (
                    l.digest.clone(),
                    mountable(&self.images, &l.digest, &self.reference),
                )
            })
            .collect();
        let uploads: Vec<_> = jobs
            .iter()
            .map(|(layer, diff_id)| self.blob(layer, Some(diff_id.short()), &sources))
            .collect();
        stream::iter(uploads)
            .buffer_unordered(at_once)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// Sends one blob, unless the registry has it or can mount it. Only a layer has an id, to be shown.
    async fn blob(
        &self,
        blob: &Descriptor,
        id: Option<&str>,
        sources: &HashMap<Digest, Vec<String>>,
    ) -> Result<()> {
        let path = self.reference.path();
        if self.has(blob).await? {
            if let Some(id) = id {
                self.report.part(id, "Layer already exists");
            }
            return Ok(());
        }
        let mut upload = None;
        for source in sources.get(&blob.digest).into_iter().flatten() {
            match self
                .start(&format!(
                    "{path}/blobs/uploads/?mount={}&from={source}",
                    blob.digest
                ))
                .await?
            {
                None => {
                    if let Some(id) = id {
                        self.report.part(id, format!("Mounted from {source}"));
                    }
                    return Ok(());
                }
                // Refused: the registry has begun an upload in its place.
                begun => upload = begun,
            }
        }
        let mut failures = 0;
        loop {
            let to = match upload.take() {
                Some(to) => to,
                None => {
                    let begun = self.start(&format!("{path}/blobs/uploads/")).await?;
                    begun.ok_or_else(|| {
                        DistributionError::Unreachable("an upload was not begun".into())
                    })?
                }
            };
            match self.send(blob, id, to).await {
                Ok(()) => break,
                Err(e) if e.is_passing() && failures + 1 < self.attempts => {
                    failures += 1;
                    tracing::debug!(blob = %blob.digest, error = %e, "an upload is begun again");
                    tokio::time::sleep(std::time::Duration::from_millis(250 << failures)).await;
                }
                Err(e) => return Err(e),
            }
        }
        if let Some(id) = id {
            self.report.part(id, "Pushed");
        }
        Ok(())
    }

    async fn has(&self, blob: &Descriptor) -> Result<bool> {
        let path = format!("{}/blobs/{}", self.reference.path(), blob.digest);
        let uri = self.session.endpoint.url(&path)?;
        let head = self
            .session
            .send(Method::HEAD, uri, HeaderMap::new(), || Ok(empty()))
            .await?;
        match head.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => {
                self.session
                    .checked(head)
                    .await
                    .map_err(|e| self.denied(e))?;
                Ok(false)
            }
        }
    }

    /// Begins an upload: where it goes, or `None` if the blob was mounted.
    async fn start(&self, path: &str) -> Result<Option<Uri>> {
        let uri = self.session.endpoint.url(path)?;
        let headers = header(CONTENT_LENGTH, "0")?;
        let response = self
            .session
            .send(Method::POST, uri.clone(), headers, || Ok(empty()))
            .await?;
        let response = self
            .session
            .checked(response)
            .await
            .map_err(|e| self.denied(e))?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        Ok(Some(self.session.resolve(&uri, response.headers())?))
    }

    /// Sends a blob whole, in one request.
    async fn send(&self, blob: &Descriptor, id: Option<&str>, to: Uri) -> Result<()> {
        let joint = if to.query().is_some() { '&' } else { '?' };
        let digest = blob.digest.to_string().replace(':', "%3A");
        let uri: Uri = format!("{to}{joint}digest={digest}")
            .parse()
            .map_err(|e| DistributionError::Unreachable(format!("a bad upload location: {e}")))?;
        let mut headers = header(CONTENT_TYPE, "application/octet-stream")?;
        headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        let response = self
            .session
            .send(Method::PUT, uri, headers, || self.body(blob, id))
            .await?;
        self.session
            .checked(response)
            .await
            .map_err(|e| self.denied(e))?;
        Ok(())
    }

    fn body(&self, blob: &Descriptor, id: Option<&str>) -> Result<Body> {
        if self.images.blob_size(&blob.digest).is_none() {
            return Err(DistributionError::Invalid(format!(
                "the compressed layer {} is not kept here any more: pull the image again before pushing it",
                blob.digest.short()
            )));
        }
        let file = tokio::fs::File::from_std(self.images.open_blob(&blob.digest)?);
        let report = self.report.clone();
        let id = id.map(str::to_owned);
        let total = blob.size;
        let mut done = 0;
        let mut throttle = Throttle::new();
        let frames = ReaderStream::with_capacity(file, CHUNK).map_ok(move |piece| {
            done += piece.len() as u64;
            if let Some(id) = &id
                && throttle.is_due()
            {
                report.amount(id, "Pushing", done, total);
            }
            Frame::data(piece)
        });
        Ok(StreamBody::new(frames).boxed_unsync())
    }

    async fn manifest(&self, tag: &str, parts: &Parts) -> Result<()> {
        let path = format!("{}/manifests/{tag}", self.reference.path());
        let uri = self.session.endpoint.url(&path)?;
        let headers = header(CONTENT_TYPE, &parts.descriptor.media_type)?;
        let response = self
            .session
            .send(Method::PUT, uri, headers, || Ok(full(parts.bytes.clone())))
            .await?;
        let response = self
            .session
            .checked(response)
            .await
            .map_err(|e| self.denied(e))?;
        let answered = response.headers().get("docker-content-digest");
        let expected = parts.descriptor.digest.to_string();
        if answered.is_some_and(|d| d.as_bytes() != expected.as_bytes()) {
            return Err(DistributionError::Unreachable(format!(
                "the registry says that the manifest {expected} is {answered:?}"
            )));
        }
        Ok(())
    }

    /// A refusal in Docker's words.
    fn denied(&self, e: DistributionError) -> DistributionError {
        match e {
            DistributionError::Registry(f) if f.has("DENIED") => {
                DistributionError::Unauthorized(f.to_string())
            }
            other => other,
        }
    }
}
