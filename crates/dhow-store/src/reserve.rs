//! Room on the disk that is the store's whatever else fills it: nothing can be removed to make room without a
//! record being written first, and how a container ended has to be kept there as well.
//!
//! SQLite's journal grows to a thousand pages and is then written over from its beginning, so that this much, set
//! aside behind the ends of the files (fallocate(2), `FALLOC_FL_KEEP_SIZE`), is enough for any number of removals.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// The journal of a thousand pages with their heads, and some that are written before it can begin anew.
const JOURNAL: u64 = 5 << 20;
/// By which records may grow beyond what they were when the store was opened.
const GROWTH: u64 = 1 << 20;

/// Sets it aside for the store at this path, which has been read from. Not every file system can, nor every disk has as
/// much left: then there is none.
pub(crate) fn set_aside(store: &Path) {
    let mut journal = OsString::from(store);
    journal.push("-wal");
    let size = store.metadata().map_or(0, |file| file.len());
    for (path, room) in [(Path::new(&journal), JOURNAL), (store, size + GROWTH)] {
        let kept = File::options()
            .write(true)
            .open(path)
            .and_then(|file| Ok(fallocate(file, FallocateFlags::KEEP_SIZE, 0, room)?));
        if let Err(error) = kept {
            tracing::debug!(path = %path.display(), %error, "no room is set aside");
        }
    }
}
