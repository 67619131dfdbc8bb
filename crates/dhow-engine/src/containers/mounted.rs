//! What a container keeps mounted on the host while it runs: the filesystems of its volumes.

use std::sync::Arc;
use std::time::Duration;

use super::Containers;
use super::container::Container;
use super::definition::MountKind;
use crate::error::Result;

/// How long an end waits for filesystems to be unmounted, whose server may not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a new daemon waits for a filesystem that a container has already.
const START_PATIENCE: Duration = Duration::from_secs(10);

impl Containers {
    /// Has the container's volumes mounted, until [`Containers::unmount_volumes`].
    pub(super) async fn mount_volumes(&self, container: &Container) -> Result<()> {
        let definition = container.definition();
        let names = definition.volumes().map(|(name, _)| name);
        self.inner.volumes.mount(names, container.id.as_str()).await
    }

    /// The container runs no more, or has not come to it. What it has not mounted is left alone, and what takes
    /// long is not waited for.
    pub async fn unmount_volumes(&self, container: &Container) {
        let (volumes, id) = (self.inner.volumes.clone(), container.id.clone());
        let definition = container.definition();
        let mounted: Vec<String> = definition
            .volumes()
            .filter(|(name, _)| volumes.is_mounted_for(name, id.as_str()))
            .map(|(name, _)| name.to_owned())
            .collect();
        if mounted.is_empty() {
            return;
        }
        let done = tokio::spawn(async move {
            for name in mounted {
                volumes.unmount(&name, id.as_str()).await;
            }
        });
        if tokio::time::timeout(PATIENCE, done).await.is_err() {
            tracing::warn!(container = %container.id, "a volume that it had takes long to be unmounted");
        }
    }

    /// Tells that a container has come to its volumes, or has left them.
    pub fn tell_volumes(&self, container: &Container, action: &str) {
        let id = container.id.as_str();
        for mount in &container.definition().mounts {
            let MountKind::Volume { name, .. } = &mount.kind else {
                continue;
            };
            let mut attributes = vec![("container", id), ("driver", "local")];
            if action == "mount" {
                attributes.push(("destination", mount.destination.as_str()));
                attributes.push(("propagation", mount.propagation.as_str()));
                attributes.push(("read/write", if mount.read_only { "false" } else { "true" }));
            }
            self.inner.volumes.tell(action, name, &attributes);
        }
    }

    /// As [`Containers::mount_volumes`], for one that an earlier daemon has started: it has its own hold of them.
    /// What takes long goes on, and is not waited for.
    pub async fn keep_volumes_mounted(&self, container: &Arc<Container>) {
        let (containers, mounted) = (self.clone(), container.clone());
        let done = tokio::spawn(async move {
            if let Err(e) = containers.mount_volumes(&mounted).await {
                tracing::warn!(container = %mounted.id, error = %e, "a volume that it has is not mounted on the host any more");
            }
        });
        if tokio::time::timeout(START_PATIENCE, done).await.is_err() {
            tracing::warn!(container = %container.id, "a volume that it has takes long to be mounted on the host");
        }
    }
}
