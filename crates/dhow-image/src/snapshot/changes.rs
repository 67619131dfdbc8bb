//! The list of what a container has changed.
//!
//! As in Docker a directory is compared by mode, owner and attributes, and a file by its size and time as well; times
//! are equal where their seconds are and one has no fraction, for archives of other engines have none.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Snapshot;
use super::walk::{self, Place, Visitor};
use crate::error::Result;

/// What became of a path; the numbers are the Engine API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Modified = 0,
    Added = 1,
    Deleted = 2,
}

/// One path that is not as it is in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root, with its first slash.
    pub path: PathBuf,
    pub kind: ChangeKind,
}

pub(super) fn list(snapshot: &Snapshot) -> Result<Vec<Change>> {
    let mut list = List(Vec::new());
    walk::walk(snapshot, &mut list)?;
    let bytes = |change: &Change| change.path.as_os_str().as_bytes().to_vec();
    list.0.sort_by_cached_key(bytes);
    Ok(list.0)
}

struct List(Vec<Change>);

impl List {
    fn add(&mut self, path: &Path, kind: ChangeKind) -> Result<()> {
        let path = Path::new("/").join(path);
        self.0.push(Change { path, kind });
        Ok(())
    }
}

impl Visitor for List {
    const WHOLE: bool = false;

    fn directory(&mut self, path: &Path, kind: ChangeKind, _: &OwnedFd, _: bool) -> Result<()> {
        self.add(path, kind)
    }

    fn other(&mut self, path: &Path, kind: ChangeKind, _: Place<'_>) -> Result<()> {
        self.add(path, kind)
    }

    fn deleted(&mut self, path: &Path) -> Result<()> {
        self.add(path, ChangeKind::Deleted)
    }
}
