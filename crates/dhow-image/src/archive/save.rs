//! Which files an archive of images has. All that is written is settled, and held, before the first byte goes
//! out; the same images make the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_oci::{Descriptor, Digest, Index, Platform, Reference, media_type};

use super::layout::{self, Listed};
use super::parts::{self, Parts};
use crate::catalog::Image;
use crate::error::{ImageError, Result};
use crate::images::Images;
use crate::ingest::Ingest;

/// An archive that is to be written.
#[derive(Debug)]
pub struct Saving {
    pub(super) images: Images,
    /// Keeps the blobs.
    held: Ingest,
    /// The ids of the images in it.
    pub ids: Vec<Digest>,
    /// By path.
    pub(super) files: BTreeMap<String, Content>,
}

#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// With its size.
    Blob(Digest, u64),
}

/// What one entry of the archive's index leads to.
struct Target {
    descriptor: Descriptor,
    names: Vec<Reference>,
    /// What Docker's list says of it.
    listed: Listed,
}

impl Images {
    /// An archive of what these names mean: an image, or all that a repository has tags of. Without platforms,
    /// all that are here of each. Blocks.
    pub fn save(&self, names: &[String], platforms: &[Platform]) -> Result<Saving> {
        let mut saving = Saving {
            images: self.clone(),
            held: self.begin(),
            ids: Vec::new(),
            files: BTreeMap::new(),
        };
        let mut targets: Vec<Target> = Vec::new();
        for name in names {
            for (image, reference) in self.meant(name)? {
                let mut target = saving.target(&image, name, platforms)?;
                let known = targets
                    .iter_mut()
                    .find(|t| t.descriptor.digest == target.descriptor.digest);
                match known {
                    Some(known) => known.add(reference),
                    None => {
                        target.add(reference);
                        targets.push(target);
                    }
                }
            }
        }
        saving.finish(targets)?;
        Ok(saving)
    }

    /// The images that a name means, and what each is called in the archive.
    fn meant(&self, name: &str) -> Result<Vec<(Arc<Image>, Option<Reference>)>> {
        let reference = Reference::parse_normalized(name).ok();
        if let Some(repository) = reference.as_ref().filter(|r| r.is_name_only()) {
            let mut all: Vec<_> = Vec::new();
            for image in self.list() {
                let tags = image.tags.iter().filter(|t| t.same_repository(repository));
                all.extend(tags.map(|tag| (image.clone(), Some(tag.clone()))));
            }
            if all.is_empty() {
                let images = self.list().into_iter();
                let pulled =
                    |i: &Arc<Image>| i.digests.iter().any(|d| d.same_repository(repository));
                all.extend(images.filter(pulled).map(|image| (image, None)));
            }
            if !all.is_empty() {
                all.sort_by(|(a, by_a), (b, by_b)| (by_a, &a.id).cmp(&(by_b, &b.id)));
                return Ok(all);
            }
        }
        let image = self.resolve(name)?;
        // By its id or a digest an image goes without a name.
        let called = reference.filter(|r| r.digest().is_none() && image.tags.contains(r));
        Ok(vec![(image, called)])
    }
}

impl Target {
    fn add(&mut self, name: Option<Reference>) {
        if let Some(name) = name.filter(|n| !self.names.contains(n)) {
            self.names.push(name);
        }
    }
}

impl Saving {
    /// Puts an image's files in, for these platforms.
    fn target(&mut self, image: &Arc<Image>, name: &str, platforms: &[Platform]) -> Result<Target> {
        let own = Parts::of(&self.images, image, &self.held)?;
        let index = parts::index_of(&self.images, image, &own.manifest.digest);
        let mut family = vec![(image.clone(), own)];
        if let Some((_, _, index)) = &index {
            family.extend(self.siblings(image, index));
        }
        let best = |platform: &Platform| {
            let matcher = platform.matcher();
            let ranked = family
                .iter()
                .enumerate()
                .filter_map(|(at, (i, _))| Some((matcher.rank(&i.config.platform())?, at)));
            ranked.min().map(|(_, at)| at)
        };
        let mut chosen: Vec<usize> = Vec::new();
        for platform in platforms {
            let Some(at) = best(platform) else {
                return Err(ImageError::NoPlatform(format!(
                    "no suitable export target found: image with reference {name} was found but does not provide the specified platform ({platform})"
                )));
            };
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        if platforms.is_empty() {
            chosen.extend(0..family.len());
        }
        let preferred = best(&Platform::host()).filter(|at| chosen.contains(at));
        let preferred = preferred.or(chosen.first().copied()).unwrap_or(0);
        for at in &chosen {
            let (image, parts) = &family[*at];
            self.put(&parts.manifest, parts.bytes.clone());
            for blob in parts.layers.iter().chain([&parts.config]) {
                let content = Content::Blob(blob.digest.clone(), blob.size);
                self.files.insert(layout::blob_path(&blob.digest), content);
            }
            if !self.ids.contains(&image.id) {
                self.ids.push(image.id.clone());
            }
        }
        let (_, parts) = &family[preferred];
        let paths = |d: &Descriptor| layout::blob_path(&d.digest);
        let listed = Listed {
            config: paths(&parts.config),
            repo_tags: None,
            layers: parts.layers.iter().map(paths).collect(),
        };
        let descriptor = match index {
            // One platform's image is named by itself.
            Some((descriptor, bytes, _)) if platforms.len() != 1 => {
                self.put(&descriptor, bytes);
                for at in &chosen {
                    self.attached(&family[*at].0);
                }
                descriptor
            }
            _ => parts.manifest.clone(),
        };
        Ok(Target {
            descriptor,
            names: Vec::new(),
            listed,
        })
    }

    /// Images of the same index for other platforms, which are here whole.
    fn siblings(&self, image: &Image, index: &Index) -> Vec<(Arc<Image>, Parts)> {
        let listed = |digest: &Digest| index.manifests.iter().any(|d| d.digest == *digest);
        let others = self.images.list().into_iter().filter(|other| {
            other.id != image.id && other.documents.iter().any(|d| listed(&d.digest))
        });
        let mut found: Vec<_> = others
            .filter_map(|other| {
                let parts = Parts::of(&self.images, &other, &self.held).ok()?;
                listed(&parts.manifest.digest).then_some((other, parts))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        found
    }

    /// Puts what is stated about an image in, which the index leads to.
    fn attached(&mut self, image: &Image) {
        for digest in &image.attached {
            let size = self.images.blob_size(digest);
            if let Some(size) = size.filter(|_| self.held.has_blob(digest)) {
                let content = Content::Blob(digest.clone(), size);
                self.files.insert(layout::blob_path(digest), content);
            }
        }
    }

    fn put(&mut self, descriptor: &Descriptor, bytes: Vec<u8>) {
        let path = layout::blob_path(&descriptor.digest);
        self.files.insert(path, Content::Bytes(bytes));
    }

    /// Puts the lists in.
    fn finish(&mut self, targets: Vec<Target>) -> Result<()> {
        let mut manifests = Vec::new();
        let mut list = Vec::new();
        for mut target in targets {
            if target.names.is_empty() {
                manifests.push(target.descriptor.clone());
            }
            for name in &target.names {
                let mut descriptor = target.descriptor.clone();
                let annotations = &mut descriptor.annotations;
                annotations.insert(layout::IMAGE_NAME.to_owned(), name.to_string());
                let tag = name.tag().unwrap_or_default();
                annotations.insert(layout::REF_NAME.to_owned(), tag.to_owned());
                manifests.push(descriptor);
            }
            let tags: Vec<String> = target.names.iter().map(Reference::familiar).collect();
            target.listed.repo_tags = Some(tags).filter(|tags| !tags.is_empty());
            list.push(target.listed);
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let mut files = vec![
            (layout::INDEX, parts::document(&index)?),
            (layout::OCI_LAYOUT, layout::OCI_LAYOUT_CONTENT.into()),
        ];
        if !list.is_empty() {
            files.push((layout::MANIFEST, parts::document(&list)?));
        }
        for (path, bytes) in files {
            self.files.insert(path.to_owned(), Content::Bytes(bytes));
        }
        Ok(())
    }
}
