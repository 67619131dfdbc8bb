//! Reading a root filesystem without mounting it: a stack of directories, topmost first, seen as overlayfs would
//! show it (kernel `Documentation/filesystems/overlayfs.rst`: whiteouts, opaque directories). It serves the layers
//! below one that is unpacked, `/etc/passwd`, and what a new volume is filled with.
//!
//! Invariant: nothing outside the stack is ever opened. Each step of a path is one name opened without
//! following links; a link is followed by hand, with the stack's top as the root.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

/// As many links in one path as the kernel follows (`MAXSYMLINKS`).
pub(crate) const LINKS_MAX: usize = 40;
/// On a directory that hides what lies below it.
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";
/// The same, of a mount in a user namespace.
const USER_OPAQUE: &CStr = c"user.overlay.opaque";
/// Files such as `/etc/passwd` are read whole, and no further than this.
const MAX_FILE: u64 = 4 << 20;

/// The layers of one root filesystem.
#[derive(Debug)]
pub struct LayeredRoot {
    layers: Vec<PathBuf>,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Node {
    /// The parts of a merged directory, topmost first.
    Directory(Vec<OwnedFd>),
    /// Anything else: the directory that holds it, and its name there.
    Other {
        parent: OwnedFd,
        name: OsString,
        kind: FileType,
    },
}

impl LayeredRoot {
    /// `layers` topmost first; the container's own upper directory belongs at the front.
    pub fn new(layers: Vec<PathBuf>) -> LayeredRoot {
        LayeredRoot { layers }
    }

    /// What `path` is, links followed; `None` if it is not there.
    pub fn lookup(&self, path: &Path) -> std::io::Result<Option<Node>> {
        Ok(self.resolve(path)?.map(|(_, node)| node))
    }

    /// As [`LayeredRoot::lookup`], and where it is: the path from the root that has no link in it.
    pub fn resolve(&self, path: &Path) -> std::io::Result<Option<(PathBuf, Node)>> {
        let mut parts = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            match open_dir(CWD, layer.as_os_str()) {
                Ok(fd) => parts.push(fd),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Layers(parts).resolve(path)
    }

    /// A small regular file's content; `None` if it is not there.
    pub fn read(&self, path: &str) -> std::io::Result<Option<String>> {
        let Some(Node::Other {
            parent,
            name,
            kind: FileType::RegularFile,
        }) = self.lookup(Path::new(path))?
        else {
            return Ok(None);
        };
        let fd = openat(
            &parent,
            name.as_os_str(),
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
        )?;
        let mut bytes = Vec::new();
        File::from(fd).take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Layers that are open, topmost first.
pub(crate) struct Layers(Vec<OwnedFd>);

impl Layers {
    pub fn open(layers: &[PathBuf]) -> std::io::Result<Layers> {
        let open = |layer: &PathBuf| open_dir(CWD, layer.as_os_str());
        let parts: rustix::io::Result<_> = layers.iter().map(open).collect();
        Ok(Layers(parts?))
    }

    /// Their roots, topmost first.
    pub fn into_parts(self) -> Vec<OwnedFd> {
        self.0
    }

    fn resolve(self, path: &Path) -> std::io::Result<Option<(PathBuf, Node)>> {
        // Where the walk is, as directories to go back to for `..`, and as a path.
        let mut stack: Vec<Vec<OwnedFd>> = vec![self.0];
        let mut at = PathBuf::from("/");
        let mut todo: Vec<OsString> = steps(path);
        let mut links = 0;
        while let Some(step) = todo.pop() {
            if step == ".." {
                if stack.len() > 1 {
                    stack.pop();
                    at.pop();
                }
                continue;
            }
            let Some(here) = stack.last() else {
                return Ok(None);
            };
            match child(here, &step)? {
                None => return Ok(None),
                Some(Node::Directory(parts)) => {
                    stack.push(parts);
                    at.push(step);
                }
                Some(Node::Other {
                    parent,
                    name,
                    kind: FileType::Symlink,
                }) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let target = readlinkat(&parent, name.as_os_str(), Vec::new())?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        stack.truncate(1);
                        at = PathBuf::from("/");
                    }
                    todo.extend(steps(&target));
                }
                Some(other) if todo.is_empty() => return Ok(Some((at.join(step), other))),
                // A file with something below it.
                Some(_) => return Ok(None),
            }
        }
        Ok(stack.pop().map(|parts| (at, Node::Directory(parts))))
    }

    /// What is at `path`, of a directory its topmost part, as an `O_PATH` descriptor. No link is followed: one on
    /// the way is no directory.
    pub fn find(&self, path: &Path) -> std::io::Result<Option<OwnedFd>> {
        let mut below = None;
        let mut todo = steps(path);
        while let Some(step) = todo.pop() {
            let here = below.as_ref().unwrap_or(&self.0);
            match child(here, &step)? {
                None => return Ok(None),
                Some(Node::Directory(parts)) => below = Some(parts),
                Some(Node::Other { parent, name, .. }) if todo.is_empty() => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    return Ok(Some(openat(
                        &parent,
                        name.as_os_str(),
                        flags,
                        Mode::empty(),
                    )?));
                }
                Some(Node::Other { .. }) => return Ok(None),
            }
        }
        let here = below.as_ref().unwrap_or(&self.0);
        here.first().map(OwnedFd::try_clone).transpose()
    }
}

/// The names of a merged directory in order, each with the part that shows it. Each is opened when it is asked
/// for: a directory may have more names than a process may have descriptors.
pub fn entries(
    parts: &[OwnedFd],
) -> std::io::Result<impl Iterator<Item = std::io::Result<(OsString, Node)>>> {
    Ok(names(parts)?
        .into_iter()
        // `None` for what is deleted: it hides what is below as well.
        .filter_map(|name| match child(parts, &name) {
            Ok(node) => Some(Ok((name, node?))),
            Err(e) => Some(Err(e)),
        }))
}

/// The names that any of the parts has, also of what it takes away.
pub(crate) fn names(parts: &[OwnedFd]) -> std::io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for part in parts {
        for entry in Dir::read_from(part)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.insert(name);
            }
        }
    }
    Ok(names)
}

/// One name in a merged directory.
pub(crate) fn child(parts: &[OwnedFd], name: &OsStr) -> std::io::Result<Option<Node>> {
    let mut merged = Vec::new();
    for part in parts {
        let stat = match statat(part, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(e.into()),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let fd = open_dir(part.as_fd(), name)?;
                let opaque = is_opaque(&fd);
                merged.push(fd);
                if opaque {
                    break;
                }
            }
            _ if is_whiteout(&stat) => break,
            // A file below a directory is hidden by it.
            _ if !merged.is_empty() => break,
            kind => {
                return Ok(Some(Node::Other {
                    parent: part.try_clone()?,
                    name: name.to_owned(),
                    kind,
                }));
            }
        }
    }
    Ok((!merged.is_empty()).then_some(Node::Directory(merged)))
}

/// A whiteout is a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0u8; 1];
    [OPAQUE, USER_OPAQUE].iter().any(
        |name| matches!(rustix::fs::fgetxattr(dir, *name, &mut value[..]), Ok(1) if value == *b"y"),
    )
}

pub(crate) fn open_dir(at: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// The steps of a path, last first.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn two_layers() -> (tempfile::TempDir, LayeredRoot) {
        let dir = tempfile::tempdir().unwrap();
        let (top, low) = (dir.path().join("top"), dir.path().join("low"));
        fs::create_dir_all(top.join("etc")).unwrap();
        fs::create_dir_all(low.join("etc")).unwrap();
        fs::create_dir_all(low.join("usr/share")).unwrap();
        fs::write(low.join("etc/passwd"), "low").unwrap();
        fs::write(low.join("etc/group"), "low").unwrap();
        fs::write(low.join("usr/share/x"), "x").unwrap();
        fs::write(top.join("etc/passwd"), "top").unwrap();
        symlink("/usr/share", low.join("s")).unwrap();
        symlink("../../../../../../../../etc/hostname", low.join("out")).unwrap();
        symlink("loop", low.join("loop")).unwrap();
        let root = LayeredRoot::new(vec![top, low]);
        (dir, root)
    }

    #[test]
    fn the_topmost_layer_wins_and_lower_ones_show_through() {
        let (_dir, root) = two_layers();
        assert_eq!(root.read("/etc/passwd").unwrap().unwrap(), "top");
        assert_eq!(root.read("/etc/group").unwrap().unwrap(), "low");
        assert_eq!(root.read("/etc/nothing").unwrap(), None);
        assert_eq!(root.read("/etc").unwrap(), None);
        assert_eq!(root.read("/etc/passwd/x").unwrap(), None);
    }

    #[test]
    fn links_stay_inside() {
        let (_dir, root) = two_layers();
        assert_eq!(root.read("/s/x").unwrap().unwrap(), "x");
        assert_eq!(root.read("/out").unwrap(), None);
        assert!(root.read("/loop").is_err());
        assert_eq!(root.read("/../../etc/passwd").unwrap().unwrap(), "top");
        let place = |path: &str| root.resolve(Path::new(path)).unwrap().map(|found| found.0);
        assert_eq!(place("/s/../share/x"), Some("/usr/share/x".into()));
        assert_eq!(place("/../s"), Some("/usr/share".into()));
        assert_eq!(place("/out"), None);
    }

    #[test]
    fn a_directory_is_the_sum_of_its_parts() {
        let (_dir, root) = two_layers();
        let Some(Node::Directory(parts)) = root.lookup(Path::new("/etc")).unwrap() else {
            panic!("a directory");
        };
        let names: Vec<_> = entries(&parts)
            .unwrap()
            .map(|entry| entry.unwrap().0)
            .collect();
        assert_eq!(names, ["group", "passwd"]);
    }

    #[test]
    fn what_a_layer_takes_away_is_not_found_below() {
        let (dir, root) = two_layers();
        let layers = Layers::open(&root.layers).unwrap();
        let find = |path: &str| layers.find(Path::new(path)).unwrap();
        assert!(find("usr/share/x").is_some());
        assert!(find("s").is_some());
        assert!(find("s/x").is_none(), "no link is followed");
        assert!(find("etc/passwd/x").is_none());
        let top = dir.path().join("top");
        rustix::fs::mknodat(
            CWD,
            top.join("s"),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .unwrap();
        rustix::fs::setxattr(
            top.join("etc"),
            OPAQUE,
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        assert!(find("s").is_none());
        assert!(find("etc/passwd").is_some());
        assert!(find("etc/group").is_none());
        assert_eq!(root.read("/etc/group").unwrap(), None);
    }
}
