//! What a path in a container is.

use std::path::Path;

use dhow_api::{FileMode, PathStat};
use dhow_archive::{ArchiveError, Root, words};

use crate::error::Result;

pub(super) fn of(root: &Root, path: &str) -> Result<PathStat> {
    let failed = |e: rustix::io::Errno| ArchiveError::File {
        what: format!("lstat {path}"),
        source: e.into(),
    };
    let place = Path::new(path);
    let stat = root.stat(place).map_err(failed)?;
    let mode = FileMode::from_stat(stat.st_mode);
    let link_target = match mode.is_symlink() {
        true => root.follow(place).map_err(failed)?.display().to_string(),
        false => String::new(),
    };
    let (seconds, fraction): (i64, i64) = (stat.st_mtime as _, stat.st_mtime_nsec as _);
    let nanoseconds = seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(fraction);
    Ok(PathStat {
        name: words::base(path).to_owned(),
        size: stat.st_size,
        mode,
        mtime: match nanoseconds {
            // Which would be written as never.
            0 => "1970-01-01T00:00:00Z".to_owned(),
            _ => dhow_api::time::rfc3339_nano(nanoseconds),
        },
        link_target,
    })
}
