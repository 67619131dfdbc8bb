//! The directories of a tree that the layer itself does not describe: they were made because something is in them.

use std::collections::BTreeSet;

use super::memory;
use super::path::RelPath;

#[derive(Debug, Default)]
pub(crate) struct Implied {
    paths: BTreeSet<RelPath>,
    /// What they take, by [`memory::of`].
    bytes: u64,
}

impl Implied {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn insert(&mut self, path: RelPath) {
        let bytes = memory::of(&path);
        if self.paths.insert(path) {
            self.bytes += bytes;
        }
    }

    pub fn remove(&mut self, path: &RelPath) {
        if self.paths.remove(path) {
            self.bytes -= memory::of(path);
        }
    }

    /// Drops a directory that is gone, and all that were in it.
    pub fn remove_all(&mut self, gone: &RelPath) {
        let bytes = &mut self.bytes;
        self.paths.retain(|path| {
            let stays = !path.is_within(gone);
            if !stays {
                *bytes -= memory::of(path);
            }
            stays
        });
    }

    /// All of them, outermost first.
    pub fn take(&mut self) -> Vec<RelPath> {
        self.bytes = 0;
        std::mem::take(&mut self.paths).into_iter().collect()
    }
}
