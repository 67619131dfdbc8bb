//! From what a user typed to an image: a name, a name and digest, an id, or the beginning of an id.

use std::sync::Arc;

use dhow_oci::reference::is_identifier;
use dhow_oci::{Digest, Reference};

use crate::catalog::Image;
use crate::error::{ImageError, Result};
use crate::images::Images;

/// Longest hexadecimal string that is looked up as the beginning of an id.
const ID_HEX_MAX: usize = 64;

impl Images {
    /// Finds the image that `name` means. A name goes before an id that begins the same. Does not block.
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>> {
        let catalog = self.inner.catalog();
        let not_found = |shown: String| Err(ImageError::NotFound(shown));
        if is_identifier(name) || name.starts_with("sha256:") {
            let hex = name.strip_prefix("sha256:").unwrap_or(name);
            if let Ok(id) = format!("sha256:{hex}").parse::<Digest>() {
                return match catalog.image(&id) {
                    Some(image) => Ok(image.clone()),
                    None => not_found(format!("sha256:{hex}")),
                };
            }
        }
        let reference = Reference::parse_normalized(name);
        if let Ok(reference) = &reference {
            let named = catalog
                .named(&lookup_key(reference))
                .or_else(|| named_digest(&catalog, reference));
            if let Some(image) = named {
                return Ok(image.clone());
            }
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        if is_id_prefix(hex) {
            match catalog.with_id_prefix(hex)[..] {
                [] => {}
                [image] => return Ok(image.clone()),
                _ => return Err(ImageError::Ambiguous(hex.to_owned())),
            }
        }
        not_found(reference?.with_default_tag().familiar())
    }
}

/// The name in the catalog: a digest goes before a tag, as for `docker pull name:tag@digest`.
fn lookup_key(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone().with_default_tag(),
    }
}

/// A repository of the image, with the id or the manifest of that image.
fn named_digest<'a>(
    catalog: &'a crate::catalog::Catalog,
    reference: &Reference,
) -> Option<&'a Arc<Image>> {
    let digest = reference.digest()?;
    catalog.images().find(|image| {
        let is_it = image.id == *digest || image.documents.iter().any(|d| d.digest == *digest);
        is_it && image.references().any(|r| r.same_repository(reference))
    })
}

fn is_id_prefix(s: &str) -> bool {
    (1..=ID_HEX_MAX).contains(&s.len()) && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `name` was the beginning of the id of the image it meant, and not one of its names.
pub(crate) fn is_id(image: &Image, name: &str) -> bool {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let names_it = || {
        Reference::parse_normalized(name)
            .is_ok_and(|r| image.references().any(|n| *n == lookup_key(&r)))
    };
    !hex.is_empty() && image.id.hex().starts_with(hex) && !names_it()
}

/// The name of the image that `name` was, if it was one.
pub(crate) fn name_of(image: &Image, name: &str) -> Option<Reference> {
    let key = lookup_key(&Reference::parse_normalized(name).ok()?);
    image.references().find(|n| **n == key).cloned()
}
