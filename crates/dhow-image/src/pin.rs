//! Pins: layers that stay on disk while a container is made of them, whatever becomes of their image.

use std::path::PathBuf;
use std::sync::Arc;

use dhow_oci::Digest;

use crate::catalog::Catalog;
use crate::images::{Images, Inner};

/// Holds the layers of a chain; dropping it lets go. What it held is removed by the next
/// [`Images::collect`] if nothing else refers to it.
#[derive(Debug)]
pub struct Pin {
    pub(crate) inner: Arc<Inner>,
    chain: Vec<Digest>,
}

impl Pin {
    pub(crate) fn take(images: &Images, catalog: &mut Catalog, chain: Vec<Digest>) -> Pin {
        for id in &chain {
            if let Some(layer) = catalog.layers.get_mut(id) {
                layer.holds += 1;
            }
        }
        Pin {
            inner: images.inner.clone(),
            chain,
        }
    }

    /// The chain id of the topmost layer, by which a later daemon can pin the same layers again; `None`
    /// for an image without layers.
    pub fn top(&self) -> Option<&Digest> {
        self.chain.last()
    }

    /// Where the init layer is, or would be.
    pub(crate) fn init_dir(&self) -> Option<PathBuf> {
        self.top().map(|top| self.inner.init_dir(top))
    }

    /// The trees of the layers, topmost first.
    pub fn lower_dirs(&self) -> Vec<PathBuf> {
        self.chain
            .iter()
            .rev()
            .map(|id| self.inner.layer_dir(id))
            .collect()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut catalog = self.inner.catalog();
        for id in &self.chain {
            if let Some(layer) = catalog.layers.get_mut(id) {
                layer.holds -= 1;
            }
        }
    }
}
