//! Removing an image, or a name of one.

use dhow_api::DeleteResponse;
use dhow_image::Removed;

use super::Images;
use crate::error::Result;

impl Images {
    /// Removes an image or a name of it, with Docker's rules. Blocks: call it where that is allowed.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<DeleteResponse>> {
        let image = self.inner.store.resolve(name)?;
        let removed = self.inner.store.remove(name, force, &|id| self.users(id))?;
        for one in &removed {
            match one {
                // A digest that goes with its tag is not told of by itself.
                Removed::Untagged(gone) if gone.contains('@') && !name.contains('@') => {}
                Removed::Untagged(gone) => self.tell("untag", &image.id.to_string(), gone),
                Removed::Deleted(id) if *id == image.id => {
                    self.tell("delete", &image.id.to_string(), &image.id.to_string());
                }
                Removed::Deleted(_) => {}
            }
        }
        Ok(removed.into_iter().map(told).collect())
    }
}

/// One thing that went, as the API says it.
pub(super) fn told(removed: Removed) -> DeleteResponse {
    match removed {
        Removed::Untagged(untagged) => DeleteResponse {
            untagged,
            ..DeleteResponse::default()
        },
        Removed::Deleted(id) => DeleteResponse {
            deleted: id.to_string(),
            ..DeleteResponse::default()
        },
    }
}
