//! What leaves a container, read without mounting its root: what it changed of its image, as a list and as a layer
//! (OCI image specification, layer.md, "Representing Changes"), and its whole root as an archive. It is read where
//! overlayfs keeps it (kernel `Documentation/filesystems/overlayfs.rst`): in the upper directory and the layers.
//!
//! The container may run meanwhile, and may be hostile. Invariants: nothing outside of the stack is opened, and no
//! link is followed; what vanishes between two looks is left out; an archive is whole whatever happens to a file
//! while it is copied; memory does not grow with what files hold.

mod archive;
mod changes;
mod layer;
mod root;
mod walk;
pub(crate) mod xattrs;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;

pub use changes::{Change, ChangeKind};

use crate::error::Result;

/// Deeper trees than this are refused rather than walked.
const MAX_DEPTH: usize = 512;

/// A container's root as it is now: its own directory, and the layers below.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Overlayfs's upper directory.
    pub upper: PathBuf,
    /// What lies below, topmost first: its image's layers, and the init layer above them.
    pub lower: Vec<PathBuf>,
}

impl Snapshot {
    /// What the container has changed, sorted by path. A directory in which something changed counts as changed.
    /// Blocks.
    pub fn changes(&self) -> Result<Vec<Change>> {
        changes::list(self)
    }

    /// Writes what the container has changed as a layer's archive, uncompressed, and returns how many entries that
    /// has: none if nothing changed. Blocks.
    pub fn write_layer(&self, to: impl Write) -> Result<u64> {
        layer::write(self, to)
    }

    /// Writes the whole root as an archive, uncompressed. Blocks.
    pub fn write_root(&self, to: impl Write) -> Result<()> {
        root::write(self, to)
    }
}
