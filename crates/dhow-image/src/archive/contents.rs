//! Which images an archive has.
//!
//! An OCI layout's index goes first; Docker's list adds the images that the index does not lead to, and the names
//! of those that have none there. Nothing is put in place yet: an archive with an image that can't be is refused
//! before another one is.

use std::collections::HashSet;

use dhow_oci::{
    Descriptor, Digest, Document, ImageConfig, Index, Manifest, Platform, Reference, media_type,
};

use super::layout::{self, Listed, OciLayout};
use super::receive::Archive;
use super::spool::FileId;
use crate::error::{ImageError, Result};

/// More layers than any file system stacks.
const MAX_LAYERS: usize = 4096;
/// So much that is stated about an image is taken at most.
const STATEMENTS_MAX: usize = 32;

/// One image of an archive, which is to be loaded.
#[derive(Clone, Debug)]
pub struct ArchivedImage {
    pub id: Digest,
    pub names: Vec<Reference>,
    pub platform: Platform,
    pub(super) config: FileId,
    pub(super) diff_ids: Vec<Digest>,
    /// Bottom first.
    pub(super) layers: Vec<ArchivedLayer>,
    /// The manifest that describes it, and an index that leads there.
    pub(super) documents: Vec<(Descriptor, FileId)>,
    /// What is stated about it.
    pub(super) attached: Vec<FileId>,
}

/// A layer as the archive has it.
#[derive(Clone, Debug)]
pub(super) struct ArchivedLayer {
    /// `None` if it is not in the archive: it may be here already.
    pub file: Option<FileId>,
    /// What a manifest says of it; in Docker's layout there is none.
    pub descriptor: Option<Descriptor>,
}

impl ArchivedImage {
    /// As messages call it.
    fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => name.familiar(),
            None => self.id.to_string(),
        }
    }
}

/// What one entry of the archive's index means: an image, or one for each of several platforms.
struct Target {
    digest: Digest,
    names: Vec<Reference>,
    images: Vec<ArchivedImage>,
}

impl Archive {
    /// The images to load: those of these platforms, or where none is asked for, of each the one that runs
    /// here best. Blocks.
    pub fn images(&self, platforms: &[Platform]) -> Result<Vec<ArchivedImage>> {
        let mut covered = HashSet::new();
        let mut targets = Vec::new();
        let has_index = self.is_oci_layout()?;
        if has_index {
            self.index(&mut targets, &mut covered)?;
        }
        match self.spool.json::<Option<Vec<Listed>>>(layout::MANIFEST)? {
            Some(Some(list)) => self.list(&list, &mut targets, &covered)?,
            Some(None) => {
                return Err(ImageError::Archive(
                    "its manifest.json is null (it may be [])".into(),
                ));
            }
            None if !has_index => {
                return Err(ImageError::Archive(format!(
                    "does not contain a {}",
                    layout::MANIFEST
                )));
            }
            None => {}
        }
        let mut chosen = Vec::new();
        for target in targets {
            chosen.extend(target.choose(platforms)?);
        }
        Ok(chosen)
    }

    fn is_oci_layout(&self) -> Result<bool> {
        let Some(layout) = self.spool.json::<OciLayout>(layout::OCI_LAYOUT)? else {
            return Ok(false);
        };
        if !layout
            .image_layout_version
            .starts_with(layout::OCI_LAYOUT_MAJOR)
        {
            return Err(ImageError::Archive(format!(
                "its OCI layout has the version {}, which is not known here",
                layout.image_layout_version
            )));
        }
        Ok(self.spool.find(layout::INDEX).is_some())
    }

    /// What the OCI layout's index leads to; `covered` are the images, chosen or not.
    fn index(&self, targets: &mut Vec<Target>, covered: &mut HashSet<Digest>) -> Result<()> {
        let Some(index) = self.spool.json::<Index>(layout::INDEX)? else {
            return Ok(());
        };
        for descriptor in &index.manifests {
            let name = name_of(descriptor);
            let known = targets.iter_mut().find(|t| t.digest == descriptor.digest);
            if let Some(known) = known {
                known.names.extend(name);
                continue;
            }
            let images = match self.document(descriptor)? {
                None => {
                    return Err(ImageError::Archive(format!(
                        "its index names {}, which it does not contain",
                        descriptor.digest
                    )));
                }
                Some((file, Document::Index(nested))) => {
                    self.nested(descriptor, file, &nested, covered)?
                }
                Some((file, Document::Manifest(manifest))) => {
                    let image = self.described(descriptor, file, &manifest)?;
                    image.into_iter().collect()
                }
            };
            covered.extend(images.iter().map(|i| i.id.clone()));
            if images.is_empty() {
                tracing::debug!(digest = %descriptor.digest, "not an image that can be run: left alone");
                continue;
            }
            targets.push(Target {
                digest: descriptor.digest.clone(),
                names: name.into_iter().collect(),
                images,
            });
        }
        Ok(())
    }

    /// The images of an index that are in the archive: it may well have been saved without some.
    fn nested(
        &self,
        descriptor: &Descriptor,
        file: FileId,
        index: &Index,
        covered: &mut HashSet<Digest>,
    ) -> Result<Vec<ArchivedImage>> {
        let size = self.spool.size(file);
        let media_type = match index.media_type.as_deref() {
            Some(own) if !own.is_empty() => own,
            _ => media_type::OCI_INDEX,
        };
        let whole = Descriptor::new(media_type, descriptor.digest.clone(), size);
        let mut images = Vec::new();
        for one in index.manifests.iter().filter(|d| is_image(d)) {
            let Some((manifest_file, Document::Manifest(manifest))) = self.document(one)? else {
                continue;
            };
            covered.insert(manifest.config.digest.clone());
            if self.spool.find_blob(&manifest.config.digest).is_none() {
                continue;
            }
            if let Some(mut image) = self.described(one, manifest_file, &manifest)? {
                image.documents.push((whole.clone(), file));
                image.attached = self.attached(index, &one.digest)?;
                images.push(image);
            }
        }
        if images.is_empty() {
            return Err(ImageError::Archive(format!(
                "it contains none of the images of the index {}",
                descriptor.digest
            )));
        }
        Ok(images)
    }

    /// What the archive has of what is stated about an image: a manifest, and what it names. What is too large to be a
    /// statement is left out.
    fn attached(&self, index: &Index, manifest: &Digest) -> Result<Vec<FileId>> {
        let Some(about) = index.attestation_of(manifest) else {
            return Ok(Vec::new());
        };
        let Some((file, Document::Manifest(statements))) = self.document(about)? else {
            return Ok(Vec::new());
        };
        let parts = statements.layers.iter().chain([&statements.config]);
        let found = parts.filter_map(|part| self.spool.find_blob(&part.digest));
        let small = found.filter(|file| self.spool.size(*file) <= dhow_oci::DOCUMENT_MAX);
        Ok([file]
            .into_iter()
            .chain(small.take(STATEMENTS_MAX))
            .collect())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Option<(FileId, Document)>> {
        let Some(file) = self.spool.find_blob(&descriptor.digest) else {
            return Ok(None);
        };
        let bytes = self.spool.document("manifest", file)?;
        let document = Document::parse(&descriptor.media_type, &bytes)
            .map_err(|e| ImageError::Archive(e.to_string()))?;
        Ok(Some((file, document)))
    }

    /// The image that a manifest describes; `None` if it describes something else.
    fn described(
        &self,
        descriptor: &Descriptor,
        file: FileId,
        manifest: &Manifest,
    ) -> Result<Option<ArchivedImage>> {
        if !media_type::is_image_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let Some(config) = self.spool.find_blob(&manifest.config.digest) else {
            return Err(ImageError::Archive(format!(
                "its manifest {} names the configuration {}, which it does not contain",
                descriptor.digest, manifest.config.digest
            )));
        };
        let layers = manifest.layers.iter().map(|d| ArchivedLayer {
            file: self.spool.find_blob(&d.digest),
            descriptor: Some(d.clone()),
        });
        let mut image = self.image(config, layers.collect())?;
        let size = self.spool.size(file);
        let media_type = match manifest.media_type.as_deref() {
            Some(own) if !own.is_empty() => own,
            _ => media_type::OCI_MANIFEST,
        };
        let document = Descriptor::new(media_type, descriptor.digest.clone(), size);
        image.documents.push((document, file));
        Ok(Some(image))
    }

    /// Docker's list.
    fn list(
        &self,
        list: &[Listed],
        targets: &mut Vec<Target>,
        covered: &HashSet<Digest>,
    ) -> Result<()> {
        for listed in list {
            let config = self.listed(&listed.config)?;
            let mut names = Vec::new();
            for name in listed.repo_tags.iter().flatten() {
                let reference = Reference::parse_normalized(name)?;
                if reference.tag().is_none() || reference.digest().is_some() {
                    return Err(ImageError::Archive(format!("invalid tag {name:?}")));
                }
                names.push(reference);
            }
            let id = self.spool.digest(config);
            if covered.contains(&id) {
                let mut targets = targets.iter_mut();
                let known = targets.find(|t| t.images.iter().any(|i| i.id == id));
                if let Some(known) = known.filter(|t| t.names.is_empty()) {
                    known.names = names;
                }
                continue;
            }
            let layers = listed.layers.iter().map(|path| {
                Ok(ArchivedLayer {
                    file: Some(self.listed(path)?),
                    descriptor: None,
                })
            });
            let image = self.image(config, layers.collect::<Result<_>>()?)?;
            targets.push(Target {
                digest: id,
                names,
                images: vec![image],
            });
        }
        Ok(())
    }

    fn listed(&self, path: &str) -> Result<FileId> {
        self.spool.find(path).ok_or_else(|| {
            ImageError::Archive(format!(
                "its manifest.json names {path:?}, which it does not contain"
            ))
        })
    }

    fn image(&self, config: FileId, layers: Vec<ArchivedLayer>) -> Result<ArchivedImage> {
        let bytes = self.spool.document("configuration", config)?;
        let parsed = ImageConfig::parse(&bytes).map_err(|e| ImageError::Document {
            what: "configuration",
            reason: e.to_string(),
        })?;
        let platform = parsed.platform();
        let diff_ids = parsed.rootfs.diff_ids;
        if platform.normalized().os != "linux" {
            return Err(ImageError::Invalid(format!(
                "cannot load {} image on linux",
                platform.os
            )));
        }
        if diff_ids.len() > MAX_LAYERS {
            return Err(ImageError::Archive(format!(
                "an image has {} layers",
                diff_ids.len()
            )));
        }
        if layers.len() != diff_ids.len() {
            return Err(ImageError::Archive(format!(
                "layers length mismatch: expected {}, got {}",
                layers.len(),
                diff_ids.len()
            )));
        }
        Ok(ArchivedImage {
            id: self.spool.digest(config),
            names: Vec::new(),
            platform,
            config,
            diff_ids,
            layers,
            documents: Vec::new(),
            attached: Vec::new(),
        })
    }
}

impl Target {
    /// The images to load, the one first that gets the names.
    fn choose(self, platforms: &[Platform]) -> Result<Vec<ArchivedImage>> {
        let best = |platform: &Platform| {
            let matcher = platform.matcher();
            let ranked = self
                .images
                .iter()
                .enumerate()
                .filter_map(|(at, i)| Some((matcher.rank(&i.platform)?, at)));
            ranked.min().map(|(_, at)| at)
        };
        let preferred = best(&Platform::host());
        let mut chosen: Vec<usize> = Vec::new();
        if platforms.is_empty() {
            chosen.push(preferred.unwrap_or(0));
        }
        for platform in platforms {
            let Some(at) = best(platform) else {
                let mut image = self.images[0].clone();
                image.names = self.names;
                return Err(ImageError::Invalid(format!(
                    "requested platform(s) ([{platform}]) not found: image {} is for {}",
                    image.shown(),
                    image.platform
                )));
            };
            if !chosen.contains(&at) {
                chosen.push(at);
            }
        }
        chosen.sort_by_key(|at| Some(*at) != preferred);
        let mut names = Some(self.names);
        let mut chosen: Vec<ArchivedImage> =
            chosen.iter().map(|at| self.images[*at].clone()).collect();
        let mut repositories: Vec<Reference> = Vec::new();
        for image in &mut chosen {
            if let Some(names) = names.take() {
                for name in &names {
                    if !repositories.iter().any(|r| r.same_repository(name)) {
                        repositories.push(name.clone());
                    }
                }
                image.names = names;
                continue;
            }
            // A name means one image; the others are known by their manifests.
            let manifest = image.documents.first().map(|(d, _)| d.digest.clone());
            if let Some(manifest) = manifest {
                image.names = repositories
                    .iter()
                    .map(|r| layout::by_digest(r, &manifest))
                    .collect();
            }
        }
        Ok(chosen)
    }
}

/// Whether an index's entry is an image, and not a statement about one.
fn is_image(descriptor: &Descriptor) -> bool {
    media_type::is_manifest(&descriptor.media_type) && !descriptor.is_about_another()
}

/// The name that an index gives one of its entries; a tag without a repository is none.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| descriptor.annotations.get(key).map(String::as_str);
    let text = match annotation(layout::IMAGE_NAME).filter(|name| !name.is_empty()) {
        Some(name) => name,
        None => annotation(layout::REF_NAME).filter(|name| name.contains([':', '/']))?,
    };
    let name = Reference::parse_normalized(text).ok()?;
    match name.digest() {
        None => Some(name.with_default_tag()),
        Some(digest) if *digest == descriptor.digest => Some(name.with_digest(digest.clone())),
        Some(_) => None,
    }
}
