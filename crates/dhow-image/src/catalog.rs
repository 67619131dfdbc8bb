//! What is known of images, in memory: the metadata store's records, and what is held for the moment.
//!
//! Pure bookkeeping without I/O. The records on disk and these change together, by their one writer in
//! [`crate::images`]; readers never wait for a disk.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use dhow_oci::{Descriptor, Digest, ImageConfig, Reference};

/// An image that is here.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    pub config: ImageConfig,
    /// The chain ids of its layers, bottom first.
    pub chain: Vec<Digest>,
    /// The sum of its unpacked layers, in bytes.
    pub size: u64,
    /// The manifests and indexes that it came by or was pushed with.
    pub documents: Vec<Descriptor>,
    /// Tags, each a repository and a tag, sorted.
    pub tags: Vec<Reference>,
    /// What it was pulled or pushed as, each a repository and a digest, sorted.
    pub digests: Vec<Reference>,
    /// The image that it was made of here, if it was. That one may be gone.
    pub parent: Option<Digest>,
    /// Blobs that are kept as long as it is: what others state about it.
    pub attached: BTreeSet<Digest>,
    /// When it was last given a name here, in nanoseconds since the epoch; 0 if never.
    pub last_tagged: i64,
}

impl Image {
    /// The tags as Docker shows them.
    pub fn repo_tags(&self) -> Vec<String> {
        self.tags.iter().map(Reference::familiar).collect()
    }

    /// The digests as Docker shows them.
    pub fn repo_digests(&self) -> Vec<String> {
        self.digests.iter().map(Reference::familiar).collect()
    }

    /// Whether it has no name.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }

    /// Every name it has.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.tags.iter().chain(&self.digests)
    }

    /// The manifest that its layers were described by, if it came by one.
    pub fn manifest(&self) -> Option<&Descriptor> {
        self.documents
            .iter()
            .find(|d| dhow_oci::media_type::is_manifest(&d.media_type))
    }
}

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub diff_id: Digest,
    /// The chain id of the layer below.
    pub parent: Option<Digest>,
    /// In bytes, unpacked.
    pub size: u64,
    /// The stream that it is pushed as, if that is kept, and its media type.
    pub blob: Option<(Digest, String)>,
}

/// A thing on disk, whether a record keeps it, and how many hold it for the moment.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub value: T,
    pub recorded: bool,
    pub holds: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    images: HashMap<Digest, Arc<Image>>,
    names: BTreeMap<Reference, Digest>,
    pub layers: HashMap<Digest, Held<Layer>>,
    /// Sizes in bytes.
    pub blobs: HashMap<Digest, Held<u64>>,
    /// The repositories that have a blob.
    pub sources: HashMap<Digest, BTreeSet<String>>,
}

/// What nothing refers to any more.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub layers: Vec<(Digest, Held<Layer>)>,
    pub blobs: Vec<(Digest, Held<u64>)>,
}

impl Garbage {
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.blobs.is_empty()
    }
}

impl Catalog {
    pub fn image(&self, id: &Digest) -> Option<&Arc<Image>> {
        self.images.get(id)
    }

    pub fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.values()
    }

    pub fn named(&self, name: &Reference) -> Option<&Arc<Image>> {
        self.names.get(name).and_then(|id| self.images.get(id))
    }

    /// The images whose id begins with `hex`.
    pub fn with_id_prefix(&self, hex: &str) -> Vec<&Arc<Image>> {
        self.images
            .values()
            .filter(|i| i.id.hex().starts_with(hex))
            .collect()
    }

    /// Adds an image, or the documents by which a known one came once more.
    pub fn insert(&mut self, id: &Digest, config: &ImageConfig, documents: &[Descriptor]) {
        if let Some(known) = self.images.get_mut(id) {
            let known = Arc::make_mut(known);
            known
                .documents
                .retain(|d| documents.iter().all(|n| n.digest != d.digest));
            known.documents.splice(0..0, documents.iter().cloned());
            return;
        }
        let chain = config.chain_ids();
        let size = chain
            .iter()
            .filter_map(|c| self.layers.get(c))
            .map(|l| l.value.size)
            .sum();
        let image = Image {
            id: id.clone(),
            config: config.clone(),
            chain,
            size,
            documents: documents.to_vec(),
            tags: Vec::new(),
            digests: Vec::new(),
            parent: None,
            attached: BTreeSet::new(),
            last_tagged: 0,
        };
        self.images.insert(id.clone(), Arc::new(image));
    }

    pub fn set_parent(&mut self, id: &Digest, parent: &Digest) {
        if let Some(image) = self.images.get_mut(id) {
            Arc::make_mut(image).parent = Some(parent.clone());
        }
    }

    pub fn attach(&mut self, id: &Digest, blobs: impl IntoIterator<Item = Digest>) {
        if let Some(image) = self.images.get_mut(id) {
            Arc::make_mut(image).attached.extend(blobs);
        }
    }

    pub fn set_last_tagged(&mut self, id: &Digest, at: i64) {
        if let Some(image) = self.images.get_mut(id) {
            Arc::make_mut(image).last_tagged = at;
        }
    }

    /// Makes `name` mean the image `id`, and nothing else.
    pub fn set_name(&mut self, name: &Reference, id: &Digest) {
        self.remove_name(name);
        let Some(image) = self.images.get_mut(id) else {
            return;
        };
        let image = Arc::make_mut(image);
        let list = if name.digest().is_some() {
            &mut image.digests
        } else {
            &mut image.tags
        };
        if let Err(at) = list.binary_search(name) {
            list.insert(at, name.clone());
        }
        self.names.insert(name.clone(), id.clone());
    }

    pub fn remove_name(&mut self, name: &Reference) {
        let Some(id) = self.names.remove(name) else {
            return;
        };
        if let Some(image) = self.images.get_mut(&id) {
            let image = Arc::make_mut(image);
            image.tags.retain(|t| t != name);
            image.digests.retain(|d| d != name);
        }
    }

    pub fn remove_image(&mut self, id: &Digest) -> Option<Arc<Image>> {
        let image = self.images.remove(id)?;
        for name in image.references() {
            self.names.remove(name);
        }
        Some(image)
    }

    /// Takes out all that neither an image nor a hold refers to.
    pub fn take_garbage(&mut self) -> Garbage {
        let mut live_layers: HashSet<Digest> = HashSet::new();
        let mut live_blobs: HashSet<Digest> = HashSet::new();
        for image in self.images.values() {
            live_layers.extend(image.chain.iter().cloned());
            live_blobs.insert(image.id.clone());
            live_blobs.extend(image.documents.iter().map(|d| d.digest.clone()));
            live_blobs.extend(image.attached.iter().cloned());
        }
        for (chain, layer) in &self.layers {
            if layer.holds == 0 {
                continue;
            }
            let mut next = Some(chain);
            while let Some(chain) = next {
                if !live_layers.insert(chain.clone()) {
                    break;
                }
                next = self.layers.get(chain).and_then(|l| l.value.parent.as_ref());
            }
        }
        for chain in &live_layers {
            if let Some((blob, _)) = self.layers.get(chain).and_then(|l| l.value.blob.as_ref()) {
                live_blobs.insert(blob.clone());
            }
        }
        let garbage = Garbage {
            layers: self
                .layers
                .extract_if(|chain, _| !live_layers.contains(chain))
                .collect(),
            blobs: self
                .blobs
                .extract_if(|digest, b| b.holds == 0 && !live_blobs.contains(digest))
                .collect(),
        };
        for (digest, _) in &garbage.blobs {
            self.sources.remove(digest);
        }
        garbage
    }

    /// Takes out the blobs that nothing here refers to, and leaves the layers.
    pub fn take_garbage_blobs(&mut self) -> Garbage {
        let mut live: HashSet<Digest> = HashSet::new();
        for image in self.images.values() {
            live.insert(image.id.clone());
            live.extend(image.documents.iter().map(|d| d.digest.clone()));
            live.extend(image.attached.iter().cloned());
        }
        let of_layers = self.layers.values().filter_map(|l| l.value.blob.as_ref());
        live.extend(of_layers.map(|(blob, _)| blob.clone()));
        let dead = |digest: &Digest, b: &mut Held<u64>| b.holds == 0 && !live.contains(digest);
        Garbage {
            layers: Vec::new(),
            blobs: self.blobs.extract_if(dead).collect(),
        }
    }

    /// Takes out all that neither a record nor a hold keeps.
    pub fn take_unrecorded(&mut self) -> (Vec<Digest>, Vec<Digest>) {
        let layers = self.layers.extract_if(|_, l| !l.recorded && l.holds == 0);
        let layers: Vec<_> = layers.map(|(chain, _)| chain).collect();
        let blobs = self.blobs.extract_if(|_, b| !b.recorded && b.holds == 0);
        (layers, blobs.map(|(digest, _)| digest).collect())
    }

    /// Undoes [`Catalog::take_garbage`].
    pub fn put_back(&mut self, garbage: Garbage) {
        self.layers.extend(garbage.layers);
        self.blobs.extend(garbage.blobs);
    }
}
