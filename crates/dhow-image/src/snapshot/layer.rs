//! A container's changes as a layer. What was removed is a whiteout, and a directory that hides the one below has an
//! opaque marker.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Snapshot;
use super::archive::Archive;
use super::changes::ChangeKind;
use super::walk::{self, Place, Visitor};
use crate::error::{ImageError, Result};
use crate::unpack::{OPAQUE_MARKER, WHITEOUT_PREFIX};

/// Longer paths can't be unpacked again (`PATH_MAX`, the closing NUL counted).
const LONGEST_PATH: usize = 4095;

pub(super) fn write(snapshot: &Snapshot, to: impl Write) -> Result<u64> {
    let mut layer = Layer {
        archive: Archive::new(to),
    };
    walk::walk(snapshot, &mut layer)?;
    layer.archive.finish()
}

struct Layer<W: Write> {
    archive: Archive<W>,
}

impl<W: Write> Visitor for Layer<W> {
    const WHOLE: bool = true;

    fn directory(
        &mut self,
        path: &Path,
        _: ChangeKind,
        directory: &OwnedFd,
        opaque: bool,
    ) -> Result<()> {
        check(path)?;
        self.archive.directory(path, directory)?;
        if opaque {
            self.archive
                .marker(&path.join(OsStr::from_bytes(OPAQUE_MARKER)))?;
        }
        Ok(())
    }

    fn other(&mut self, path: &Path, _: ChangeKind, place: Place<'_>) -> Result<()> {
        check(path)?;
        self.archive.other(path, place)
    }

    fn deleted(&mut self, path: &Path) -> Result<()> {
        check(path)?;
        let mut name = WHITEOUT_PREFIX.to_vec();
        name.extend_from_slice(path.file_name().unwrap_or_default().as_bytes());
        self.archive
            .marker(&path.with_file_name(OsStr::from_bytes(&name)))
    }
}

/// Refuses what would not come out of a layer as it went in.
fn check(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    if name.starts_with(WHITEOUT_PREFIX) {
        return Err(ImageError::Invalid(format!(
            "an image can't hold the file /{}: in a layer its name means that another file was removed; rename or remove it",
            path.display()
        )));
    }
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(ImageError::Invalid(format!(
            "an image can't hold a path of {length} bytes, more than {LONGEST_PATH}: it begins with /{}",
            path.iter()
                .take(3)
                .collect::<std::path::PathBuf>()
                .display()
        )));
    }
    Ok(())
}
