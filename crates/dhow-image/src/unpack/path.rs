//! Paths beneath the tree's root, as an archive names them.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{ImageError, Result};

/// A path without `.`, `..`, or empty components, relative to the root; empty for the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RelPath(Vec<u8>);

impl RelPath {
    /// Takes an archive's path, also an absolute one, as one beneath the root. A `..` that goes above
    /// the root is refused.
    pub fn clean(raw: &[u8]) -> Result<RelPath> {
        let mut components: Vec<&[u8]> = Vec::new();
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    if components.pop().is_none() {
                        return Err(ImageError::Layer(format!(
                            "its path {} leaves the root",
                            String::from_utf8_lossy(raw)
                        )));
                    }
                }
                name => components.push(name),
            }
        }
        Ok(RelPath(components.join(&b'/')))
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory and the name in it; `None` for the root.
    pub fn split(&self) -> Option<(RelPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (RelPath(self.0[..at].to_vec()), &self.0[at + 1..]),
            None => (RelPath::default(), &self.0),
        })
    }

    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    pub fn join(&self, name: &[u8]) -> RelPath {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        RelPath(path)
    }

    /// Whether it is `directory` or something in it.
    pub fn is_within(&self, directory: &RelPath) -> bool {
        self.0
            .strip_prefix(&directory.0[..])
            .is_some_and(|rest| directory.is_root() || rest.is_empty() || rest[0] == b'/')
    }

    /// Without a slash in front; what is not UTF-8 is replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// For the `*at` calls, where the root is `.`.
    pub fn as_path(&self) -> &Path {
        if self.is_root() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(&self.0))
        }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}
