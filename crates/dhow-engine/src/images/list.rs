//! The list of images.

use std::collections::HashMap;
use std::sync::Arc;

use dhow_api::{Filters, ImageSummary};
use dhow_image::Image;
use dhow_oci::Digest;

use super::filter::Filter;
use super::show::parent;
use super::{Images, manifests};
use crate::error::Result;

/// What a list tells beyond what each image is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageListOptions {
    /// How much of each image others have, too.
    pub shared_sizes: bool,
    /// The entries of its index.
    pub manifests: bool,
    /// Where each of these is from.
    pub identity: bool,
}

impl Images {
    /// The images that the filters let through, newest first. Does not block, unless manifests are asked for.
    pub fn list(&self, filters: &Filters, options: &ImageListOptions) -> Result<Vec<ImageSummary>> {
        let store = &self.inner.store;
        let filter = Filter::new(filters, store)?;
        let all = store.list();
        let users = self.users_by_image();
        let shared = options.shared_sizes.then(|| Shared::among(&all));
        let summary = |image: &Arc<Image>| {
            let id = image.id.to_string();
            ImageSummary {
                containers: users.get(&id).copied().unwrap_or(0),
                created: image.config.created_seconds(),
                id,
                parent_id: parent(image, store),
                descriptor: store.target(image).map(manifests::descriptor),
                labels: image.config.config.labels.clone(),
                repo_digests: filter.names(&image.digests),
                repo_tags: filter.names(&image.tags),
                shared_size: shared.as_ref().map_or(-1, |s| s.size(image, store)),
                size: image.size as i64,
                ..ImageSummary::default()
            }
        };
        let shown = all.iter().filter(|image| filter.matches(image));
        if !options.manifests {
            return Ok(shown.map(summary).collect());
        }
        let containers = self.containers_by_image();
        let with_manifests = |image: &Arc<Image>| {
            let mut summary = summary(image);
            let entries = self.manifests(image, &containers, options.identity)?;
            summary.manifests = Some(entries);
            Ok(summary)
        };
        shown.map(with_manifests).collect()
    }

    /// Bytes that the images' layers take, each counted once. Does not block.
    pub fn layers_size(&self) -> u64 {
        self.inner.store.layers_size()
    }

    /// How many containers were made of each image, by its id.
    fn users_by_image(&self) -> HashMap<String, i64> {
        let mut users = HashMap::new();
        for container in self.inner.containers.all() {
            *users
                .entry(container.definition().image_id.clone())
                .or_default() += 1;
        }
        users
    }
}

/// How many images have each layer.
struct Shared<'a>(HashMap<&'a Digest, usize>);

impl Shared<'_> {
    fn among(images: &[Arc<Image>]) -> Shared<'_> {
        let mut count = HashMap::new();
        for layer in images.iter().flat_map(|image| &image.chain) {
            *count.entry(layer).or_default() += 1;
        }
        Shared(count)
    }

    /// The bytes of an image's layers that another one has too.
    fn size(&self, image: &Image, store: &dhow_image::Images) -> i64 {
        let has_others = |layer: &&Digest| self.0.get(layer).is_some_and(|count| *count > 1);
        let layers = image.chain.iter().filter(has_others);
        layers
            .filter_map(|layer| store.layer(layer))
            .map(|layer| layer.size as i64)
            .sum()
    }
}
