//! The `hello-world` image that every `dhow` carries, made here from source for each architecture: a program of
//! a few instructions and a message, its layer, its configuration, and the index over all of them. The same
//! source always makes the same digests.
//!
//! It must never know how an image is pulled or run: it is content, and a registry that holds it.

mod aarch64;
mod elf;
mod image;
mod x86_64;

use dhow_registry::{MemoryContent, MemoryStorage, Registry, RegistryConfig, RegistryError};

pub use image::{HelloImage, image};

/// Where the image is found, on the registry that docker.io stands for.
pub const REPOSITORY: &str = "library/hello-world";
pub const TAG: &str = "latest";

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    #[error("the hello-world image could not be made: {0}")]
    Layer(#[from] std::io::Error),
    #[error("the hello-world image could not be described: {0}")]
    Document(#[from] serde_json::Error),
    #[error("the hello-world image could not be named: {0}")]
    Name(#[from] RegistryError),
}

/// A read-only registry with nothing but this image in it.
pub fn registry() -> Result<Registry<MemoryStorage>, HelloError> {
    let repository = REPOSITORY.parse()?;
    let HelloImage {
        blobs,
        manifests,
        index,
    } = image()?;
    let mut content = MemoryContent::default();
    for (_, blob) in blobs {
        content.blob(&repository, blob);
    }
    for (_, manifest) in manifests {
        content.manifest(&repository, &manifest, None)?;
    }
    content.manifest(&repository, &index.1, Some(TAG.parse()?))?;
    Ok(Registry::new(content.build(), RegistryConfig::default()))
}
