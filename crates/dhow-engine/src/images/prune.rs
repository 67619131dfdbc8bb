//! Removing the images that no container was made of.

use dhow_api::{Actor, Filters, ImagePruneReport};
use dhow_image::Image;

use super::Images;
use super::filter::Filter;
use super::remove::told;
use crate::error::Result;

impl Images {
    /// Blocks: call it where that is allowed.
    pub fn prune(&self, filters: &Filters) -> Result<ImagePruneReport> {
        let (filter, dangling) = Filter::for_prune(filters)?;
        let doomed = |image: &Image| (!dangling || image.tags.is_empty()) && filter.matches(image);
        let (removed, freed) = self.inner.store.prune(&doomed, &|id| self.users(id))?;
        let actor = Actor {
            id: String::new(),
            attributes: [("reclaimed".to_owned(), freed.to_string())].into(),
        };
        self.inner.events.publish("image", "prune", actor);
        Ok(ImagePruneReport {
            images_deleted: (!removed.is_empty()).then(|| removed.into_iter().map(told).collect()),
            space_reclaimed: freed,
        })
    }
}
