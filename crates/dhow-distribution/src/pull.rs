//! Pulling: from a reference to an image that is here.

use std::sync::Arc;

use dhow_image::{Image, ImageError, Images, Ingest, LayerSpec, NewLayer};
use dhow_oci::{
    DOCUMENT_MAX, Descriptor, Digest, Document, ImageConfig, Manifest, Platform, Reference,
    chain_ids, media_type,
};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::JoinSet;

use crate::auth::Auth;
use crate::blobs::{self, Download};
use crate::client::Client;
use crate::endpoint::Kind;
use crate::error::{DistributionError, Result, joined};
use crate::manifests::{self, Fetched};
use crate::progress::{Progress, Reporter, Throttle};
use crate::session::Session;

/// So much that is stated about an image is brought here at most.
const STATEMENTS_MAX: usize = 32;

/// What a pull came to.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub image: Arc<Image>,
    /// Of the index or manifest that the reference meant.
    pub digest: Digest,
    /// False if the image was here already, under this name.
    pub changed: bool,
    /// It came from the registry in this process, for docker.io could not be reached.
    pub from_embedded: bool,
}

impl Client {
    /// Pulls what `reference` means for `platform`, which is this machine's if none is asked for.
    /// Dropped on its way, it leaves nothing behind.
    pub async fn pull(
        &self,
        images: &Images,
        reference: &Reference,
        platform: Option<Platform>,
        auth: Option<Auth>,
        progress: Progress,
    ) -> Result<Pulled> {
        let report = Reporter(progress);
        let reference = reference.clone().with_default_tag();
        let (session, fetched) = self.find(&reference, auth.as_ref()).await?;
        let from_embedded = session.endpoint.kind == Kind::Embedded;
        if from_embedded {
            report.message(format!(
                "docker.io can't be reached: using the {} that is part of dhow",
                reference.familiar_name()
            ));
        }
        let opening = format!("Pulling from {}", reference.path());
        report.message_for(&what(&reference), opening);
        let pull = Pull {
            client: self.clone(),
            session,
            path: reference.path().to_owned(),
            ingest: Arc::new(images.begin()),
            report,
        };
        let digest = fetched.descriptor.digest.clone();
        let (id, documents) = pull.image(fetched, &reference, platform).await?;
        let names = if reference.digest().is_some() {
            vec![reference.with_digest(digest.clone())]
        } else {
            vec![reference.clone(), reference.with_digest(digest.clone())]
        };
        let Pull { ingest, report, .. } = pull;
        let ingest = Arc::into_inner(ingest).ok_or(ImageError::Abandoned)?;
        let committed = joined(
            tokio::task::spawn_blocking(move || ingest.commit(&id, &documents, &names)).await,
        )??;
        report.message(format!("Digest: {digest}"));
        let shown = reference.familiar();
        report.message(if committed.changed {
            format!("Status: Downloaded newer image for {shown}")
        } else {
            format!("Status: Image is up to date for {shown}")
        });
        Ok(Pulled {
            image: committed.image,
            digest,
            changed: committed.changed,
            from_embedded,
        })
    }
}

/// The tag or digest that was asked for.
fn what(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

/// One pull from one endpoint.
struct Pull {
    client: Client,
    session: Arc<Session>,
    path: String,
    ingest: Arc<Ingest>,
    report: Reporter,
}

/// One layer of the image that is pulled.
#[derive(Clone)]
struct LayerPlan {
    descriptor: Descriptor,
    diff_id: Digest,
    chain: Digest,
}

impl LayerPlan {
    fn id(&self) -> &str {
        self.descriptor.digest.short()
    }
}

/// A layer that is on its way or here.
enum Arrived {
    /// Here already.
    Present,
    /// To be put above its parent; until then others wait for it.
    New(Box<NewLayer>, OwnedMutexGuard<()>),
}

impl Pull {
    /// Brings everything here but the record, and returns the image's id and the documents that it came
    /// by, the manifest first.
    async fn image(
        &self,
        fetched: Fetched,
        reference: &Reference,
        platform: Option<Platform>,
    ) -> Result<(Digest, Vec<Descriptor>)> {
        let mut documents = Vec::new();
        let mut fetched = fetched;
        if let Document::Index(index) = &fetched.document {
            let wanted = platform.clone().unwrap_or_else(Platform::host);
            let chosen = manifests::choose(index, &wanted)?.clone();
            self.keep(&fetched).await?;
            documents.push(fetched.descriptor.clone());
            if let Some(about) = index.attestation_of(&chosen.digest)
                && let Err(error) = self.statements(about).await
            {
                // The image is what it is without them.
                tracing::warn!(%error, "what is stated about an image can't be pulled");
            }
            let target = chosen.digest.to_string();
            fetched = manifests::fetch(&self.session, &self.path, &target, Some(&chosen.digest))
                .await
                .map_err(|e| manifests::explain(e, reference))?;
        }
        let Document::Manifest(manifest) = fetched.document.clone() else {
            return Err(DistributionError::Invalid(
                "the image index leads to another index, not to an image".into(),
            ));
        };
        self.keep(&fetched).await?;
        documents.insert(0, fetched.descriptor.clone());
        let (id, config) = self.config(&manifest).await?;
        if let Some(wanted) = platform
            && !wanted.matcher().matches(&config.platform())
        {
            return Err(DistributionError::NotFound(format!(
                "image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {}",
                reference.familiar(),
                config.platform()
            )));
        }
        self.layers(&manifest, &config).await?;
        Ok((id, documents))
    }

    /// Brings here what is stated about the image: a manifest, and the statements that it names. What is too large to
    /// be one is left out.
    async fn statements(&self, about: &Descriptor) -> Result<()> {
        let target = about.digest.to_string();
        let fetched = manifests::fetch(&self.session, &self.path, &target, Some(&about.digest));
        let fetched = fetched.await?;
        self.attach(fetched.bytes, &about.digest).await?;
        let Document::Manifest(manifest) = fetched.document else {
            return Ok(());
        };
        let attempts = self.client.shared.config.max_attempts;
        let parts = manifest.layers.iter().chain([&manifest.config]);
        let small = parts.filter(|part| part.size <= DOCUMENT_MAX);
        for part in small.take(STATEMENTS_MAX) {
            let bytes = blobs::fetch(
                &self.session,
                &self.path,
                "statement",
                part,
                DOCUMENT_MAX,
                attempts,
            )
            .await?;
            self.attach(bytes, &part.digest).await?;
        }
        Ok(())
    }

    async fn attach(&self, bytes: Vec<u8>, digest: &Digest) -> Result<()> {
        let (ingest, algorithm) = (self.ingest.clone(), digest.algorithm());
        let attached = tokio::task::spawn_blocking(move || ingest.attach(&bytes, algorithm)).await;
        Ok(joined(attached)??)
    }

    /// Puts a document into the content store, byte for byte.
    async fn keep(&self, fetched: &Fetched) -> Result<()> {
        let ingest = self.ingest.clone();
        let bytes = fetched.bytes.clone();
        let algorithm = fetched.descriptor.digest.algorithm();
        let kept =
            tokio::task::spawn_blocking(move || ingest.put_document_as(&bytes, algorithm)).await;
        joined(kept)??;
        Ok(())
    }

    async fn config(&self, manifest: &Manifest) -> Result<(Digest, ImageConfig)> {
        if !media_type::is_image_config(&manifest.config.media_type) {
            return Err(DistributionError::Invalid(format!(
                "unsupported media type {}: it is not the configuration of an image that can be run",
                manifest.config.media_type
            )));
        }
        let bytes = blobs::fetch(
            &self.session,
            &self.path,
            "configuration",
            &manifest.config,
            DOCUMENT_MAX,
            self.client.shared.config.max_attempts,
        )
        .await?;
        let config = ImageConfig::parse(&bytes).map_err(|e| ImageError::Document {
            what: "configuration",
            reason: e.to_string(),
        })?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(DistributionError::Image(ImageError::Document {
                what: "configuration",
                reason: format!("it describes {diff_ids} layers, and the manifest {layers}"),
            }));
        }
        let ingest = self.ingest.clone();
        let algorithm = manifest.config.digest.algorithm();
        let kept = tokio::task::spawn_blocking(move || ingest.put_document_as(&bytes, algorithm));
        let id = joined(kept.await)??;
        Ok((id, config))
    }

    /// Brings the layers here side by side, and puts each in its place above the one below.
    async fn layers(&self, manifest: &Manifest, config: &ImageConfig) -> Result<()> {
        let diff_ids = &config.rootfs.diff_ids;
        let plans: Vec<LayerPlan> = manifest
            .layers
            .iter()
            .zip(diff_ids.iter().zip(chain_ids(diff_ids)))
            .map(|(descriptor, (diff_id, chain))| LayerPlan {
                descriptor: descriptor.clone(),
                diff_id: diff_id.clone(),
                chain,
            })
            .collect();
        let permits = Arc::new(Semaphore::new(
            self.client.shared.config.max_concurrent_downloads.max(1),
        ));
        let mut tasks = JoinSet::new();
        let mut arrived: Vec<Option<Arrived>> = Vec::new();
        for plan in &plans {
            if self.ingest.has_layer(&plan.chain) {
                self.report.part(plan.id(), "Already exists");
                arrived.push(Some(Arrived::Present));
            } else {
                self.report.part(plan.id(), "Pulling fs layer");
                arrived.push(None);
            }
        }
        for (at, plan) in plans.iter().enumerate() {
            if arrived[at].is_some() {
                continue;
            }
            let fetch = LayerFetch {
                client: self.client.clone(),
                session: self.session.clone(),
                path: self.path.clone(),
                ingest: self.ingest.clone(),
                report: self.report.clone(),
                plan: plan.clone(),
            };
            let permits = permits.clone();
            tasks.spawn(async move { (at, fetch.run(permits).await) });
        }
        let mut next = 0;
        loop {
            // Place whatever has all of its parents.
            while let Some(slot) = arrived.get_mut(next)
                && let Some(layer) = slot.take()
            {
                let parent = next.checked_sub(1).map(|below| plans[below].chain.clone());
                self.place(&plans[next], layer, parent).await?;
                next += 1;
            }
            match tasks.join_next().await {
                None => break,
                Some(done) => {
                    let (at, layer) = joined(done)?;
                    arrived[at] = Some(layer?);
                }
            }
        }
        Ok(())
    }

    async fn place(&self, plan: &LayerPlan, layer: Arrived, parent: Option<Digest>) -> Result<()> {
        let Arrived::New(layer, lock) = layer else {
            return Ok(());
        };
        let ingest = self.ingest.clone();
        let placed =
            tokio::task::spawn_blocking(move || ingest.place_layer(*layer, parent.as_ref())).await;
        joined(placed)??;
        drop(lock);
        self.report.part(plan.id(), "Pull complete");
        Ok(())
    }
}

/// The task of one layer.
struct LayerFetch {
    client: Client,
    session: Arc<Session>,
    path: String,
    ingest: Arc<Ingest>,
    report: Reporter,
    plan: LayerPlan,
}

impl LayerFetch {
    async fn run(self, permits: Arc<Semaphore>) -> Result<Arrived> {
        let id = self.plan.id().to_owned();
        if permits.available_permits() == 0 {
            self.report.part(&id, "Waiting");
        }
        let _permit = permits
            .acquire_owned()
            .await
            .map_err(|_| ImageError::Abandoned)?;
        let lock = self.client.layer_lock(&self.plan.chain);
        let lock = lock.lock_owned().await;
        if self.ingest.has_layer(&self.plan.chain) {
            // Another pull has brought it meanwhile.
            self.report.part(&id, "Download complete");
            self.report.part(&id, "Pull complete");
            return Ok(Arrived::Present);
        }
        let spec = LayerSpec {
            blob: Some((
                self.plan.descriptor.digest.clone(),
                self.plan.descriptor.size,
            )),
            diff_id: Some(self.plan.diff_id.clone()),
            media_type: self.plan.descriptor.media_type.clone(),
        };
        let layer = if self.ingest.has_blob(&self.plan.descriptor.digest) {
            let blob = self.plan.descriptor.digest.clone();
            let ingest = self.ingest.clone();
            self.report.part(&id, "Extracting");
            joined(tokio::task::spawn_blocking(move || ingest.layer_from_blob(&blob, spec)).await)??
        } else {
            self.download(&id, spec).await?
        };
        Ok(Arrived::New(Box::new(layer), lock))
    }

    async fn download(&self, id: &str, spec: LayerSpec) -> Result<NewLayer> {
        let descriptor = &self.plan.descriptor;
        let sink = self.ingest.layer(spec)?;
        let attempts = self.client.shared.config.max_attempts;
        let mut download = Download::new(&self.session, &self.path, descriptor, attempts);
        let mut throttle = Throttle::new();
        let mut done = 0;
        loop {
            let piece = match download.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(e) => {
                    sink.abandon().await;
                    return Err(e);
                }
            };
            done += piece.len() as u64;
            if throttle.is_due() {
                self.report.amount(id, "Downloading", done, descriptor.size);
            }
            if !sink.send(piece).await {
                // Refused: what follows tells why.
                return Ok(sink.finish().await?);
            }
        }
        self.report.part(id, "Verifying Checksum");
        self.report.part(id, "Download complete");
        self.report
            .amount(id, "Extracting", descriptor.size, descriptor.size);
        Ok(sink.finish().await?)
    }
}
