//! Saving images as an archive.

use dhow_image::Saving;
use dhow_oci::Platform;

use super::Images;
use crate::error::Result;

impl Images {
    /// An archive of what these names mean, ready to be written. Blocks: call it where that is allowed.
    pub fn save(&self, names: &[String], platforms: &[Platform]) -> Result<Saving> {
        let saving = self.inner.store.save(names, platforms)?;
        for id in &saving.ids {
            let id = id.to_string();
            self.tell("save", &id, &id);
        }
        Ok(saving)
    }
}
