//! A container's whole root as an archive. What is mounted in it is not, as the places of the mounts are.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::archive::Archive;
use super::walk::{Place, has_vanished, listing, too_deep};
use super::{MAX_DEPTH, Snapshot};
use crate::error::{Context, Result};
use crate::layered::{LayeredRoot, Node, entries};

pub(super) fn write(snapshot: &Snapshot, to: impl Write) -> Result<()> {
    let mut layers = vec![snapshot.upper.clone()];
    layers.extend_from_slice(&snapshot.lower);
    let top = LayeredRoot::new(layers)
        .lookup(Path::new("/"))
        .context(|| "opening a container's root".into())?;
    let mut archive = Archive::new(to);
    if let Some(Node::Directory(parts)) = top {
        directory(&mut archive, &parts, Path::new(""), 0)?;
    }
    archive.finish()?;
    Ok(())
}

/// What is in a directory.
fn directory<W: Write>(
    archive: &mut Archive<W>,
    parts: &[OwnedFd],
    path: &Path,
    depth: usize,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(too_deep(path));
    }
    for entry in entries(parts).context(|| listing(path))? {
        let (name, node) = match entry {
            Ok(entry) => entry,
            Err(e) if Errno::from_io_error(&e).is_some_and(has_vanished) => continue,
            Err(e) => return Err(e).context(|| listing(path)),
        };
        let path = path.join(&name);
        match node {
            Node::Directory(below) => {
                if let Some(top) = below.first() {
                    archive.directory(&path, top)?;
                }
                directory(archive, &below, &path, depth + 1)?;
            }
            Node::Other { parent, name, .. } => archive.other(
                &path,
                Place {
                    parent: &parent,
                    name: &name,
                },
            )?,
        }
    }
    Ok(())
}
