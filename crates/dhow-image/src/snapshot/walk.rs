//! The upper directory beside the layers below it, name by name, in order: what is new, what is different, what is
//! gone.
//!
//! A directory is told before what is in it, and one that is the same itself only if something in it is not.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Stat, fstat, statat};
use rustix::io::Errno;

use super::changes::ChangeKind;
use super::{MAX_DEPTH, Snapshot, xattrs};
use crate::error::{Context, ImageError, Result};
use crate::layered::{self, Layers, Node, is_opaque, is_whiteout, open_dir};

/// Where something that is no directory lies.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub parent: &'a OwnedFd,
    pub name: &'a OsStr,
}

/// Whom the walk tells. Paths are from the root, without the first slash.
pub(super) trait Visitor {
    /// Whether files are told that are not known to be different, for all that an upper directory has counts; and
    /// an opaque directory as such, rather than by what it hides.
    const WHOLE: bool;

    fn directory(
        &mut self,
        path: &Path,
        kind: ChangeKind,
        directory: &OwnedFd,
        opaque: bool,
    ) -> Result<()>;

    fn other(&mut self, path: &Path, kind: ChangeKind, place: Place<'_>) -> Result<()>;

    fn deleted(&mut self, path: &Path) -> Result<()>;
}

pub(super) fn walk<V: Visitor>(snapshot: &Snapshot, visitor: &mut V) -> Result<()> {
    let upper = open_dir(CWD, snapshot.upper.as_os_str())
        .context(|| format!("opening {}", snapshot.upper.display()))?;
    let lower = Layers::open(&snapshot.lower)
        .context(|| "opening the layers of a container".into())?
        .into_parts();
    let root = Frame {
        above: None,
        path: PathBuf::new(),
        upper,
        lower,
        kind: ChangeKind::Modified,
        opaque: false,
        told: Cell::new(true),
        depth: 0,
    };
    inside(&root, visitor)
}

/// A directory on the way from the root to where the walk is.
struct Frame<'a> {
    above: Option<&'a Frame<'a>>,
    path: PathBuf,
    upper: OwnedFd,
    /// The same directory below, topmost first.
    lower: Vec<OwnedFd>,
    kind: ChangeKind,
    /// It hides what is below.
    opaque: bool,
    told: Cell<bool>,
    depth: usize,
}

impl Frame<'_> {
    /// Tells of it, and first of those that it is in, unless that was done.
    fn tell<V: Visitor>(&self, visitor: &mut V) -> Result<()> {
        if self.told.replace(true) {
            return Ok(());
        }
        if let Some(above) = self.above {
            above.tell(visitor)?;
        }
        visitor.directory(&self.path, self.kind, &self.upper, self.opaque)
    }
}

/// What is in a directory.
fn inside<V: Visitor>(frame: &Frame<'_>, visitor: &mut V) -> Result<()> {
    for name in names::<V>(frame)? {
        let path = frame.path.join(&name);
        self::name(frame, &name, &path, visitor)?;
    }
    Ok(())
}

fn names<V: Visitor>(frame: &Frame<'_>) -> Result<std::collections::BTreeSet<OsString>> {
    let listing = || listing(&frame.path);
    let mut names = layered::names(std::slice::from_ref(&frame.upper)).context(listing)?;
    if frame.opaque && !V::WHOLE {
        names.extend(layered::names(&frame.lower).context(listing)?);
    }
    Ok(names)
}

fn name<V: Visitor>(frame: &Frame<'_>, name: &OsStr, path: &Path, visitor: &mut V) -> Result<()> {
    let looking = || format!("looking at /{} of a container", path.display());
    let stat = match statat(&frame.upper, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Some(stat),
        Err(Errno::NOENT) => None,
        Err(e) => return Err(e).context(looking),
    };
    let below = layered::child(&frame.lower, name).context(looking)?;
    let gone = match &stat {
        Some(stat) => is_whiteout(stat),
        None => frame.opaque,
    };
    match (stat, below) {
        (_, Some(_)) if gone => {
            frame.tell(visitor)?;
            visitor.deleted(path)
        }
        // What is not there never was, or vanished just now.
        (None, _) => Ok(()),
        (Some(_), None) if gone => Ok(()),
        (Some(stat), below) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => directory(frame, name, path, below, visitor),
            _ => other(frame, name, path, (&stat, below), visitor),
        },
    }
}

fn directory<V: Visitor>(
    frame: &Frame<'_>,
    name: &OsStr,
    path: &Path,
    below: Option<Node>,
    visitor: &mut V,
) -> Result<()> {
    let upper = match open_dir(&frame.upper, name) {
        Ok(fd) => fd,
        Err(e) if has_vanished(e) => return Ok(()),
        Err(e) => return Err(e).context(|| listing(path)),
    };
    if frame.depth >= MAX_DEPTH {
        return Err(too_deep(path));
    }
    let mut tell = true;
    let mut next = Frame {
        above: Some(frame),
        path: path.to_owned(),
        opaque: false,
        lower: Vec::new(),
        kind: ChangeKind::Modified,
        told: Cell::new(false),
        depth: frame.depth + 1,
        upper,
    };
    match below {
        None => next.kind = ChangeKind::Added,
        Some(Node::Other { .. }) => {}
        Some(Node::Directory(parts)) => {
            // What is in an opaque directory is so too, without a mark of its own.
            next.opaque = frame.opaque || is_opaque(&next.upper);
            tell = next.opaque && V::WHOLE;
            if let (false, Some(top)) = (tell, parts.first()) {
                tell = directories_differ(&next.upper, top)
                    .context(|| format!("comparing /{}", path.display()))?;
            }
            if !(next.opaque && V::WHOLE) {
                next.lower = parts;
            }
        }
    }
    if tell {
        next.tell(visitor)?;
    }
    inside(&next, visitor)
}

fn other<V: Visitor>(
    frame: &Frame<'_>,
    name: &OsStr,
    path: &Path,
    (stat, below): (&Stat, Option<Node>),
    visitor: &mut V,
) -> Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if V::WHOLE && kind == FileType::Socket {
        // It is nothing without the process that listens, and archives have no word for it.
        return Ok(());
    }
    let place = Place {
        parent: &frame.upper,
        name,
    };
    let change = match below {
        None => ChangeKind::Added,
        Some(below) => {
            let differ = V::WHOLE
                || files_differ(stat, place, &below)
                    .context(|| format!("comparing /{}", path.display()))?;
            if !differ {
                return Ok(());
            }
            ChangeKind::Modified
        }
    };
    frame.tell(visitor)?;
    visitor.other(path, change, place)
}

/// Whether it is not there any more, or became something else.
pub(super) fn has_vanished(e: Errno) -> bool {
    matches!(
        e,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::STALE
    )
}

pub(super) fn listing(path: &Path) -> String {
    format!("listing /{} of a container", path.display())
}

pub(super) fn too_deep(path: &Path) -> ImageError {
    ImageError::Invalid(format!(
        "the directory /{} of the container is more than {MAX_DEPTH} directories deep: move or remove it",
        path.display()
    ))
}

fn directories_differ(upper: &OwnedFd, below: &OwnedFd) -> io::Result<bool> {
    let (new, old) = (fstat(upper)?, fstat(below)?);
    Ok(
        (new.st_mode, new.st_uid, new.st_gid) != (old.st_mode, old.st_uid, old.st_gid)
            || xattrs::of(upper)? != xattrs::of(below)?,
    )
}

fn files_differ(new: &Stat, place: Place<'_>, below: &Node) -> io::Result<bool> {
    let Node::Other { parent, name, .. } = below else {
        return Ok(true);
    };
    let old = statat(parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
    let attributes = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_rdev, s.st_size);
    Ok(attributes(new) != attributes(&old)
        || !same_time(new, &old)
        || xattrs::at(place.parent, place.name)? != xattrs::at(parent, name)?)
}

fn same_time(a: &Stat, b: &Stat) -> bool {
    a.st_mtime == b.st_mtime
        && (a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0)
}
