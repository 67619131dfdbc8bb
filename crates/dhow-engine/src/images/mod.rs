//! Images as the API has them: how they are shown, what may go, and the events of what happens to them.
//!
//! What an image is, [`dhow_image`] knows; which containers keep one is known here.

mod commit;
mod filter;
mod list;
mod load;
mod manifests;
mod prune;
mod remove;
mod save;
mod show;
mod tag;

pub use commit::CommitRequest;
pub use list::ImageListOptions;
pub use load::Loading;
pub use show::ImageInspectOptions;

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_api::Actor;
use dhow_image::ImageUser;
use dhow_oci::Digest;

use crate::containers::Containers;
use crate::events::EventBus;

/// Images as containers use them. A handle; clones are the same.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    store: dhow_image::Images,
    containers: Containers,
    events: EventBus,
}

impl Images {
    pub fn new(store: dhow_image::Images, containers: Containers, events: EventBus) -> Images {
        Images {
            inner: Arc::new(Inner {
                store,
                containers,
                events,
            }),
        }
    }

    /// The images themselves.
    pub fn store(&self) -> &dhow_image::Images {
        &self.inner.store
    }

    /// The containers that were made of an image, or have it mounted.
    pub fn users(&self, id: &Digest) -> Vec<ImageUser> {
        let id = id.to_string();
        self.inner
            .containers
            .all()
            .iter()
            .filter(|c| {
                let definition = c.definition();
                definition.image_id == id || definition.mounted_images().any(|(m, _)| m == id)
            })
            .map(|c| ImageUser {
                container_id: c.id.to_string(),
                running: c.state().is_live(),
            })
            .collect()
    }

    /// Publishes an event about an image: `pull`, `tag`, `untag`, `delete`, `push`, `import`, `load`,
    /// `save`, `create`.
    pub fn tell(&self, action: &str, id: &str, name: &str) {
        let mut attributes: BTreeMap<String, String> = self
            .inner
            .store
            .resolve(id)
            .ok()
            .and_then(|i| i.config.config.labels.clone())
            .unwrap_or_default();
        // What came from or went to a registry is known by its reference there, and by its repository.
        let (actor, name) = match action {
            "pull" | "push" => (name, repository(name)),
            _ => (id, name),
        };
        attributes.insert("name".into(), name.to_owned());
        self.inner.events.publish(
            "image",
            action,
            Actor {
                id: actor.to_owned(),
                attributes,
            },
        );
    }
}

/// A reference without its tag or digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for (reference, expected) in [
            ("busybox:latest", "busybox"),
            ("busybox@sha256:00", "busybox"),
            ("localhost:5000/a/b", "localhost:5000/a/b"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
        ] {
            assert_eq!(repository(reference), expected);
        }
    }
}
