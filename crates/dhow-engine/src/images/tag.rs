//! Giving an image a name.

use dhow_image::ImageError;
use dhow_oci::Reference;

use super::Images;
use crate::error::{EngineError, Result};

impl Images {
    /// Names the image `repository`, with `tag` or the one that the repository is written with or `latest`.
    /// Blocks: call it where that is allowed.
    pub fn tag(&self, name: &str, repository: &str, tag: Option<&str>) -> Result<()> {
        let image = self.inner.store.resolve(name)?;
        let mut target = Reference::parse_normalized(repository).map_err(ImageError::from)?;
        if target.digest().is_some() {
            return Err(EngineError::invalid(
                "refusing to create a tag with a digest reference",
            ));
        }
        if let Some(tag) = tag {
            target = target.with_tag(tag).map_err(ImageError::from)?;
        }
        let target = target.with_default_tag();
        self.inner.store.tag(&image.id, &target)?;
        self.tell("tag", &image.id.to_string(), &target.familiar());
        Ok(())
    }
}
