//! What has to be kept in mind until a layer is whole: paths, as many as its archive likes, which compresses them
//! to next to nothing. So they have a limit of their own.

use super::path::RelPath;
use crate::error::{ImageError, Result};

/// What a path takes beside its bytes, with the time or the link that goes with it, in a vector or a tree.
const EACH: u64 = 96;

/// Bytes that a path takes in memory.
pub(crate) fn of(path: &RelPath) -> u64 {
    path.len() as u64 + EACH
}

pub(crate) fn check(bytes: u64, limit: u64) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(ImageError::Layer(format!(
        "its directories, and its hard links to the layers below, are more than can be kept in {limit} bytes of memory"
    )))
}
