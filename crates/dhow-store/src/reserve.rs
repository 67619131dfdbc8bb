//! Room on the disk that is kept for removals: where it is full, nothing could be removed to make room, for each
//! removal is written down first, and no end of a container could be.
//!
//! The store's journal grows to some four megabytes and is written over from then on, so that this much is enough
//! for any number of them. It is a file beside the store, which goes in need and comes back when there is room.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// SQLite's journal of a thousand pages, and some.
const SIZE: u64 = 5 << 20;
/// With less room than this a write may fail.
const LITTLE: u64 = 1 << 20;
/// With more room than this nobody misses the reserve.
const PLENTY: u64 = 4 * SIZE;

pub(crate) struct Reserve {
    path: PathBuf,
    given: bool,
}

impl Reserve {
    /// That of the store at this path.
    pub fn of(store: &Path) -> Reserve {
        let mut reserve = Reserve {
            path: store.with_extension("reserve"),
            given: true,
        };
        reserve.keep();
        reserve
    }

    fn room(&self) -> Option<u64> {
        let disk = statvfs(self.path.parent()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Takes it, if it was given and there is plenty of room again.
    pub fn keep(&mut self) {
        if !self.given {
            return;
        }
        let there = self.path.metadata().is_ok_and(|file| file.len() >= SIZE);
        if !there && self.room().is_none_or(|room| room < PLENTY) {
            return;
        }
        let made = there
            || File::create(&self.path)
                .is_ok_and(|file| fallocate(file, FallocateFlags::empty(), 0, SIZE).is_ok());
        if !made {
            // Not every file system can set room aside.
            let _ = std::fs::remove_file(&self.path);
        }
        self.given = false;
    }

    /// Gives it, if there is little room.
    pub fn give(&mut self) {
        if self.given || self.room().is_none_or(|room| room >= LITTLE) {
            return;
        }
        self.given = true;
        if std::fs::remove_file(&self.path).is_ok() {
            tracing::warn!("the disk is full: what was reserved for removals is used now");
        }
    }
}
