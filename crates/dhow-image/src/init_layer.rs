//! The init layer: what a container's root has to have and its image has not, such as the places that `/proc` and
//! `/etc/hosts` are mounted at. It lies above the image's layers, beside the topmost one and as long as that, for
//! all containers of the image.
//!
//! So a container's own directory holds what the container itself has changed and nothing else, and a start
//! makes nothing in it. Invariant: it is whole or not there, and hides nothing that the image has. A directory that
//! the image has, too, has the image's mode, owner, times and attributes, for overlayfs shows the topmost ones.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Gid, Timespec, Timestamps, Uid, XattrFlags};

use crate::error::{Context, Result};
use crate::layered::{LayeredRoot, Node};
use crate::pin::Pin;
use crate::snapshot::xattrs;

/// What is to be at a path, if nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Directory,
    /// An empty one.
    File,
    /// A link to this.
    Link(&'static str),
}

impl Pin {
    /// The init layer of these layers, if it has been made.
    pub fn init_layer(&self) -> Option<PathBuf> {
        self.init_dir().filter(|dir| dir.is_dir())
    }

    /// Makes the init layer, with what `places` names and the layers have not. One that is there stays as it is.
    /// Without layers there is none. Blocks for a dozen operations on the data-root's file system.
    pub fn make_init_layer(&self, places: &[(&str, Place)]) -> Result<()> {
        let Some(dir) = self.init_dir().filter(|dir| !dir.is_dir()) else {
            return Ok(());
        };
        let made = self.inner.temporary();
        let layers = self.lower_dirs();
        let result = make(&made, layers, places).and_then(|()| match fs::rename(&made, &dir) {
            // Somebody else was as quick.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                fs::remove_dir_all(&made)
            }
            result => result,
        });
        if result.is_err() {
            // What is left there is removed by the next opening.
            let _ = fs::remove_dir_all(&made);
        }
        result.context(|| format!("making the init layer {}", dir.display()))
    }
}

fn make(dir: &Path, layers: Vec<PathBuf>, places: &[(&str, Place)]) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(dir)?;
    let image = LayeredRoot::new(layers.clone());
    let mut stack = vec![dir.to_owned()];
    stack.extend(layers);
    let mut shared = Vec::new();
    for (path, place) in places {
        // With what was made for the places before this one.
        let root = LayeredRoot::new(stack.clone());
        let path = Path::new(path);
        if let Some(at) = missing(&root, path)? {
            make_parents(dir, &image, &at, &mut shared)?;
            make_place(&beneath(dir, &at), *place)?;
        }
    }
    // Last, since what was made in them has changed their times.
    for (path, like) in shared.iter().rev() {
        copy_attributes(path, like)?;
    }
    Ok(())
}

/// Where a path leads to at which there is nothing. A link that leads nowhere is left to whoever follows it.
fn missing(root: &LayeredRoot, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut rest = PathBuf::new();
    let mut known = path;
    loop {
        if let Some((at, node)) = root.resolve(known)? {
            let within = matches!(node, Node::Directory(_)) && !rest.as_os_str().is_empty();
            return Ok(within.then(|| at.join(rest)));
        }
        let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else {
            return Ok(None);
        };
        if let Some((_, Node::Directory(parts))) = root.resolve(parent)?
            && parts.iter().any(|part| is_there(part, name))
        {
            return Ok(None);
        }
        rest = match rest.as_os_str().is_empty() {
            true => name.into(),
            false => Path::new(name).join(rest),
        };
        known = parent;
    }
}

/// Whether a layer has the name for something else than a deletion.
fn is_there(part: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    rustix::fs::statat(part, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| !crate::layered::is_whiteout(&stat))
}

/// Makes the directories above `at`, and notes those that the image has as well.
fn make_parents(
    dir: &Path,
    image: &LayeredRoot,
    at: &Path,
    shared: &mut Vec<(PathBuf, OwnedFd)>,
) -> io::Result<()> {
    let mut path = PathBuf::from("/");
    for step in at.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(name) = step else {
            continue;
        };
        path.push(name);
        let own = beneath(dir, &path);
        match fs::DirBuilder::new().mode(0o755).create(&own) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(e),
        }
        set_mode(&own, 0o755)?;
        if let Some(Node::Directory(mut parts)) = image.lookup(&path)? {
            shared.push((own, parts.swap_remove(0)));
        }
    }
    Ok(())
}

fn make_place(path: &Path, place: Place) -> io::Result<()> {
    match place {
        Place::Directory => fs::DirBuilder::new().mode(0o755).create(path)?,
        Place::File => {
            let mut file = fs::OpenOptions::new();
            file.write(true).create_new(true).mode(0o755).open(path)?;
        }
        Place::Link(target) => return symlink(target, path),
    }
    set_mode(path, 0o755)
}

/// Whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn beneath(dir: &Path, at: &Path) -> PathBuf {
    dir.join(at.strip_prefix("/").unwrap_or(at))
}

fn copy_attributes(path: &Path, like: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(like)?;
    rustix::fs::chown(
        path,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    set_mode(path, stat.st_mode & 0o7777)?;
    for (name, value) in xattrs::of(like)? {
        rustix::fs::setxattr(path, name, &value, XattrFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    Ok(rustix::fs::utimensat(
        rustix::fs::CWD,
        path,
        &times,
        rustix::fs::AtFlags::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, chown};

    const PLACES: [(&str, Place); 6] = [
        ("/proc", Place::Directory),
        ("/dev/pts", Place::Directory),
        ("/etc/hosts", Place::File),
        ("/etc/hostname", Place::File),
        ("/etc/resolv.conf", Place::File),
        ("/etc/mtab", Place::Link("/proc/mounts")),
    ];

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn it_has_what_the_image_lacks_and_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, init) = (dir.path().join("layer"), dir.path().join("init"));
        fs::create_dir_all(layer.join("usr/etc")).unwrap();
        fs::create_dir(layer.join("dev")).unwrap();
        symlink("usr/etc", layer.join("etc")).unwrap();
        fs::write(layer.join("usr/etc/hosts"), "the image's").unwrap();
        symlink("../../run/nowhere", layer.join("usr/etc/resolv.conf")).unwrap();
        let etc = layer.join("usr/etc");
        set_mode(&etc, 0o2750).unwrap();
        chown(&etc, Some(7), Some(8)).unwrap();
        set_mode(&etc, 0o2750).unwrap();
        make(&init, vec![layer.clone()], &PLACES).unwrap();
        assert_eq!(names(&init), ["dev", "proc", "usr"]);
        assert_eq!(names(&init.join("dev")), ["pts"]);
        assert_eq!(names(&init.join("usr/etc")), ["hostname", "mtab"]);
        let (of_image, ours) = (
            fs::metadata(&etc).unwrap(),
            fs::metadata(init.join("usr/etc")).unwrap(),
        );
        let attributes = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
        assert_eq!(attributes(&ours), attributes(&of_image));
        assert_eq!(
            fs::metadata(init.join("proc")).unwrap().mode() & 0o7777,
            0o755
        );
    }

    #[test]
    fn of_an_empty_image_it_is_everything() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, init) = (dir.path().join("layer"), dir.path().join("init"));
        fs::create_dir(&layer).unwrap();
        make(&init, vec![layer], &PLACES).unwrap();
        assert_eq!(names(&init), ["dev", "etc", "proc"]);
        assert_eq!(
            names(&init.join("etc")),
            ["hostname", "hosts", "mtab", "resolv.conf"]
        );
    }
}
