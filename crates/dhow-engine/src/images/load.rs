//! Loading an archive of images, in Docker's words.

use dhow_image::Archive;
use dhow_oci::{Digest, Platform};

use super::Images;
use crate::error::Result;

/// What loading has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loading {
    /// How far a layer has come, in bytes.
    Layer {
        diff_id: Digest,
        current: u64,
        total: u64,
    },
    /// A line for the user.
    Line(String),
}

/// A layer's progress is told in steps of so many bytes.
const STEP: u64 = 1 << 20;

impl Images {
    /// Loads the images of an archive one after another; those that were loaded before one that fails stay.
    /// Gives up when `cancelled` says so. Blocks: call it where that is allowed.
    pub fn load(
        &self,
        archive: &Archive,
        platforms: &[Platform],
        tell: &(dyn Fn(Loading) + Sync),
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        for image in archive.images(platforms)? {
            let before: Vec<_> = image
                .names
                .iter()
                .filter_map(|name| {
                    let bearer = self.inner.store.resolve(&name.to_string()).ok()?;
                    (bearer.id != image.id).then(|| (name.familiar(), bearer.id.clone()))
                })
                .collect();
            archive.load(&image, &|diff_id, current, total| {
                if cancelled() {
                    return false;
                }
                if current == total || current % STEP == 0 {
                    tell(Loading::Layer {
                        diff_id: diff_id.clone(),
                        current,
                        total,
                    });
                }
                true
            })?;
            let id = image.id.to_string();
            self.tell("load", &id, &id);
            for (name, old) in before {
                tell(Loading::Line(format!(
                    "The image {name} already exists, renaming the old one with ID {old} to empty string"
                )));
            }
            for name in &image.names {
                tell(Loading::Line(format!("Loaded image: {}", name.familiar())));
            }
            if image.names.is_empty() {
                tell(Loading::Line(format!("Loaded image ID: {id}")));
            }
        }
        Ok(())
    }
}
