//! Taking names from images, and removing images that have none left: Docker's rules and texts.
//!
//! A name that is taken away is not missed while others are left. With the last name the image goes,
//! unless a container is made of it: a stopped one can be overruled with force (its layers stay pinned),
//! a running one never.

use dhow_oci::{Digest, Reference};
use dhow_store::Durability;

use crate::catalog::Image;
use crate::error::{ImageError, Result};
use crate::images::{Images, strings};
use crate::resolve;

/// A container that was made of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUser {
    pub container_id: String,
    pub running: bool,
}

/// One thing that a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away; in its short form.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(Digest),
}

/// What keeps an image, and whether force overrules it.
enum Obstacle {
    Running(String),
    ManyRepositories,
    Stopped(String),
}

impl Obstacle {
    fn into_error(self, id: &Digest) -> ImageError {
        let (force, reason) = match self {
            Obstacle::Running(container) => (
                "cannot be forced",
                format!(
                    "image is being used by running container {}",
                    short(&container)
                ),
            ),
            Obstacle::ManyRepositories => (
                "must be forced",
                "image is referenced in multiple repositories".to_owned(),
            ),
            Obstacle::Stopped(container) => (
                "must be forced",
                format!(
                    "image is being used by stopped container {}",
                    short(&container)
                ),
            ),
        };
        ImageError::Conflict(format!(
            "conflict: unable to delete {} ({force}) - {reason}",
            id.short()
        ))
    }
}

impl Images {
    /// Removes what `name` means: the name, or by an id the image. `used_by` tells the containers that
    /// were made of an image; it is called with a lock held and must not call back.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        used_by: &dyn Fn(&Digest) -> Vec<ImageUser>,
    ) -> Result<Vec<Removed>> {
        let change = self.inner.change();
        let image = self.resolve(name)?;
        let users = used_by(&image.id);
        let mut removed = Vec::new();
        let mut by_name = false;
        if resolve::is_id(&image, name) {
            if is_single_reference(&image) {
                self.check(&image, &users, force, false)?;
            }
        } else {
            if !force
                && is_single_reference(&image)
                && let Some(user) = users.first()
            {
                return Err(ImageError::Conflict(format!(
                    "conflict: unable to remove repository reference {name:?} (must force) - container {} is using its referenced image {}",
                    short(&user.container_id),
                    image.id.short()
                )));
            }
            let untag = names_to_drop(&image, name);
            self.drop_names(&untag, &mut removed)?;
            by_name = true;
        }
        let Some(image) = self.get(&image.id) else {
            return Ok(removed);
        };
        if by_name && !image.is_dangling() {
            return Ok(removed);
        }
        let many = !is_single_reference(&image);
        match self.check(&image, &users, force, many) {
            // The name is gone, as was asked; the image stays for its container.
            Err(_) if by_name && !users.is_empty() => return Ok(removed),
            r => r?,
        }
        self.delete(&image, &mut removed)?;
        for layer in self.inner.collect(&change)?.into_iter().rev() {
            removed.push(Removed::Deleted(layer));
        }
        Ok(removed)
    }

    fn check(&self, image: &Image, users: &[ImageUser], force: bool, many: bool) -> Result<()> {
        let running = users.iter().find(|u| u.running);
        let obstacle = if let Some(user) = running {
            Obstacle::Running(user.container_id.clone())
        } else if many && !force {
            Obstacle::ManyRepositories
        } else if let Some(user) = users.first().filter(|_| !force) {
            Obstacle::Stopped(user.container_id.clone())
        } else {
            return Ok(());
        };
        Err(obstacle.into_error(&image.id))
    }

    fn drop_names(&self, names: &[Reference], removed: &mut Vec<Removed>) -> Result<()> {
        let rows = strings(names);
        self.inner
            .store
            .write_blocking(Durability::Synced, move |c| {
                for name in &rows {
                    c.prepare_cached("DELETE FROM image_names WHERE name = ?1")?
                        .execute([name])?;
                }
                Ok(())
            })?;
        let mut catalog = self.inner.catalog();
        for name in names {
            catalog.remove_name(name);
            removed.push(Removed::Untagged(name.familiar()));
        }
        Ok(())
    }

    /// Removes the image's record and all its names.
    fn delete(&self, image: &Image, removed: &mut Vec<Removed>) -> Result<()> {
        let id = image.id.to_string();
        self.inner
            .store
            .write_blocking(Durability::Synced, move |c| {
                c.prepare_cached("DELETE FROM image_images WHERE id = ?1")?
                    .execute([&id])
            })?;
        self.inner.catalog().remove_image(&image.id);
        let names = image.references().map(|n| Removed::Untagged(n.familiar()));
        removed.extend(names);
        removed.push(Removed::Deleted(image.id.clone()));
        Ok(())
    }

    /// Removes the images that `doomed` picks and no container was made of, with all their names.
    /// Returns what went and how many bytes that freed.
    pub fn prune(
        &self,
        doomed: &dyn Fn(&Image) -> bool,
        used_by: &dyn Fn(&Digest) -> Vec<ImageUser>,
    ) -> Result<(Vec<Removed>, u64)> {
        let change = self.inner.change();
        let mut removed = Vec::new();
        let before = self.layers_size();
        for image in self.list() {
            if doomed(&image) && used_by(&image.id).is_empty() {
                self.delete(&image, &mut removed)?;
            }
        }
        for layer in self.inner.collect(&change)?.into_iter().rev() {
            removed.push(Removed::Deleted(layer));
        }
        Ok((removed, before.saturating_sub(self.layers_size())))
    }
}

/// The name, and with the last tag of a repository the digests that were pulled from it.
fn names_to_drop(image: &Image, name: &str) -> Vec<Reference> {
    let Some(name) = resolve::name_of(image, name) else {
        // Resolved by an image's own digest in one of its repositories.
        return image.digests.clone();
    };
    let mut names = vec![name.clone()];
    let other_tags = image
        .tags
        .iter()
        .any(|t| *t != name && t.same_repository(&name));
    if name.digest().is_none() && !other_tags {
        let digests = image.digests.iter().filter(|d| d.same_repository(&name));
        names.extend(digests.cloned());
    }
    names
}

/// Whether all its names are one tag at most, and digests of that repository alone.
fn is_single_reference(image: &Image) -> bool {
    if image.tags.len() + image.digests.len() <= 1 {
        return true;
    }
    let Some(first) = image.tags.first().or(image.digests.first()) else {
        return true;
    };
    image.tags.len() <= 1 && image.digests.iter().all(|d| d.same_repository(first))
}

fn short(container_id: &str) -> &str {
    container_id.get(..12).unwrap_or(container_id)
}
