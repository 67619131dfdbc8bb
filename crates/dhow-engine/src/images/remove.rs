//! Removing an image, or a name of one.

use std::sync::Arc;

use dhow_api::DeleteResponse;
use dhow_image::{Image, ImageError, Removed};
use dhow_oci::{Platform, Reference};

use super::Images;
use crate::error::{EngineError, Result};

impl Images {
    /// Removes an image or a name of it, with Docker's rules. Blocks: call it where that is allowed.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<DeleteResponse>> {
        let image = self.inner.store.resolve(name)?;
        let removed = self.inner.store.remove(name, force, &|id| self.users(id))?;
        self.tell_of(&image, name, &removed);
        Ok(removed.into_iter().map(told).collect())
    }

    /// Removes the images for these platforms of what a name means. Names that are not a platform's own go on to
    /// another one that is left. Blocks: call it where that is allowed.
    pub fn remove_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        force: bool,
    ) -> Result<Vec<DeleteResponse>> {
        if !force {
            return Err(EngineError::invalid(
                "Content will be removed from all images referencing this variant. Use —-force to force delete.",
            ));
        }
        let store = &self.inner.store;
        let id = store.resolve(name)?.id.clone();
        let mut all = Vec::new();
        for platform in platforms {
            // By its id, for the name may be another's by now.
            let named = match store.get(&id) {
                Some(_) => id.to_string(),
                None => name.to_owned(),
            };
            let image = store.variant(&named, platform).map_err(|e| match e {
                ImageError::NoPlatform(why) => ImageError::NoPlatform(format!(
                    "failed to delete platform {platform} for image {id}: {why}"
                )),
                other => other,
            })?;
            let removed = self.remove_variant(&image)?;
            self.tell_of(&image, &image.id.to_string(), &removed);
            all.extend(removed.into_iter().map(told));
        }
        Ok(all)
    }

    fn remove_variant(&self, image: &Arc<Image>) -> Result<Vec<Removed>> {
        let store = &self.inner.store;
        let id = image.id.to_string();
        if self.users(&image.id).iter().all(|user| !user.running) {
            let host = Platform::host().matcher();
            let family = store.family(image).into_iter().skip(1);
            let rank = |other: &Arc<Image>| match host.rank(&other.config.platform()) {
                Some(rank) => (false, rank),
                None => (true, 0),
            };
            if let Some(heir) = family.min_by_key(rank) {
                let own = image.manifest().map(|manifest| &manifest.digest);
                let is_own = |name: &&Reference| own.is_some() && name.digest() == own;
                let names: Vec<_> = image.references().filter(|n| !is_own(n)).cloned().collect();
                store.set_names(&heir.id, &names)?;
            }
        }
        Ok(store.remove(&id, true, &|id| self.users(id))?)
    }

    /// Publishes what a removal did to an image.
    fn tell_of(&self, image: &Image, name: &str, removed: &[Removed]) {
        for one in removed {
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
