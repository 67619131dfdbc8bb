//! Making an image of a container: its image's layers, what it changed as one more, and its configuration (moby
//! `daemon/commit.go`).

use std::sync::Arc;

use dhow_api::ContainerConfig;
use dhow_image::{ChildOptions, ImageError, NewLayer, Snapshot, changes};
use dhow_oci::{Reference, RunConfig};

use super::Images;
use crate::background::blocking;
use crate::containers::container::Container;
use crate::containers::snapshot::stays;
use crate::containers::{image_config, merge, signal};
use crate::error::Result;

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// A container's name or id.
    pub container: String,
    /// The name that the image gets.
    pub reference: Option<Reference>,
    pub author: String,
    pub comment: String,
    /// Freeze the container while it is read.
    pub pause: bool,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// What of the configuration is to differ from the container's.
    pub config: Option<ContainerConfig>,
}

impl Images {
    /// Makes an image of a container, and returns its id once it would survive power loss.
    pub async fn commit(&self, request: CommitRequest) -> Result<String> {
        let containers = &self.inner.containers;
        let container = containers.find(&request.container)?;
        let held = containers.snapshot(&container, "commit")?;
        let options = options(&container, &request)?;
        let ingest = Arc::new(self.inner.store.begin());
        let layer = self
            .read(&container, held.snapshot, &ingest, request.pause)
            .await?;
        let pin = held.pin;
        let made = blocking(move || {
            // The layers below are held until the image is there.
            let _pin = pin;
            match Arc::into_inner(ingest) {
                Some(ingest) => ingest.child(layer, options),
                None => Err(ImageError::Abandoned),
            }
        });
        let id = made.await??.image.id.to_string();
        self.tell("create", &id, &id);
        let name = request
            .reference
            .map(|reference| reference.with_default_tag().familiar());
        if let Some(name) = &name {
            self.tell("tag", &id, name);
        }
        let attributes = [
            ("comment", request.comment.as_str()),
            ("imageID", &id),
            ("imageRef", name.as_deref().unwrap_or_default()),
        ];
        containers.tell(&container, "commit", &attributes);
        Ok(id)
    }

    /// Reads what the container has changed, frozen while that lasts if it is to be.
    async fn read(
        &self,
        container: &Arc<Container>,
        snapshot: Snapshot,
        ingest: &Arc<dhow_image::Ingest>,
        pause: bool,
    ) -> Result<Option<NewLayer>> {
        let containers = &self.inner.containers;
        let still = match pause {
            true => containers.hold_still(container).await,
            false => Ok(false),
        };
        let still = still.unwrap_or_else(|e| {
            // As in Docker: it may just have ended.
            tracing::warn!(container = %container.id, error = %e, "it is committed without being paused");
            false
        });
        let ingest = ingest.clone();
        let layer = blocking(move || ingest.layer_of(&snapshot)).await;
        if still && let Err(e) = containers.let_go(container).await {
            tracing::error!(container = %container.id, error = %e, "it was paused for a commit and can't be unpaused");
        }
        let layer = layer??;
        // What went with it meanwhile is not in the layer.
        stays(container, "commit")?;
        Ok(layer)
    }
}

/// What the image will be, checked before the container is touched.
fn options(container: &Container, request: &CommitRequest) -> Result<ChildOptions> {
    let definition = container.definition();
    let own = image_config::of(&definition.config);
    let mut config: RunConfig = match &request.config {
        Some(wanted) => {
            let mut wanted = wanted.clone();
            merge::merge(&mut wanted, &own);
            image_config::of(&wanted)
        }
        None => own,
    };
    changes::apply(&mut config, &request.changes)?;
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    Ok(ChildOptions {
        parent: definition.image_id.parse().ok(),
        top: definition.layers.as_deref().and_then(|l| l.parse().ok()),
        config,
        author: request.author.clone(),
        comment: request.comment.clone(),
        created_by: definition
            .config
            .cmd
            .as_deref()
            .unwrap_or_default()
            .join(" "),
        name: request.reference.clone(),
    })
}
