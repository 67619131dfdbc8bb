//! A root directory, and paths beneath it as if it were the root of the file system (openat2(2),
//! `RESOLVE_IN_ROOT`): links lead nowhere else, and magic links nowhere at all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As many links may a path lead through; more are taken for a circle.
const LINKS_MAX: usize = 255;
/// The mode of directories that an archive implies.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// To look at something with, and to go on from; nothing is opened by it.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

pub struct Root {
    fd: OwnedFd,
    /// The kernel's process filesystem, by which what was looked at is opened.
    procfs: OwnedFd,
    resolve: ResolveFlags,
}

impl Root {
    /// A tree that is not trusted, by its root directory. The process filesystem of the calling thread has to be
    /// the host's.
    pub fn new(fd: OwnedFd) -> io::Result<Root> {
        Root::with(fd, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// This process's own root.
    pub fn own() -> io::Result<Root> {
        let fd = rustix::fs::open("/", LOOK | OFlags::DIRECTORY, Mode::empty())?;
        Root::with(fd, ResolveFlags::empty())
    }

    fn with(fd: OwnedFd, resolve: ResolveFlags) -> io::Result<Root> {
        let procfs = rustix::fs::open("/proc", LOOK | OFlags::DIRECTORY, Mode::empty())?;
        if rustix::fs::fstatfs(&procfs)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return Err(io::Error::other("/proc is not a process filesystem"));
        }
        Ok(Root {
            fd,
            procfs,
            resolve,
        })
    }

    /// Opens what is at a path.
    pub fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        loop {
            let flags = flags | OFlags::CLOEXEC;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), self.resolve) {
                // Something was renamed meanwhile, so the kernel could not tell where the path led.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// A descriptor to look at what is at a path, the link itself if it is one and the path doesn't end in a
    /// slash.
    pub fn look(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        self.open(path, LOOK | OFlags::NOFOLLOW)
    }

    pub fn stat(&self, path: &Path) -> rustix::io::Result<Stat> {
        rustix::fs::fstat(self.look(path)?)
    }

    /// Where a path leads once all links on it are followed. What is missing of it stays as it is written.
    pub fn follow(&self, path: &Path) -> rustix::io::Result<PathBuf> {
        let mut here = PathBuf::from("/");
        let mut ahead: Vec<OsString> = Vec::new();
        push(&mut ahead, path.as_os_str().as_bytes());
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            let link = self.look(&next).and_then(read_link);
            match link {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    if target.first() == Some(&b'/') {
                        here = PathBuf::from("/");
                    }
                    push(&mut ahead, &target);
                }
                // No link, or nothing.
                Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => here = next,
                Err(e) => return Err(e),
            }
        }
        Ok(here)
    }

    /// The directory at a path, made with its parents if it is missing; also where a link leads to nothing.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path, LOOK | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            result => return Ok(result?),
        }
        let path = self.follow(path)?;
        let mut here = PathBuf::from("/");
        let mut parent = self.open(&here, LOOK | OFlags::DIRECTORY)?;
        for part in path.components().skip(1) {
            here.push(part);
            let made = rustix::fs::mkdirat(&parent, part.as_os_str(), IMPLIED_MODE);
            match made {
                Ok(()) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    let new = rustix::fs::openat(
                        &parent,
                        part.as_os_str(),
                        flags | OFlags::CLOEXEC,
                        Mode::empty(),
                    )?;
                    // Whatever the umask.
                    rustix::fs::fchmod(&new, IMPLIED_MODE)?;
                    parent = new;
                }
                Err(Errno::EXIST) => parent = self.open(&here, LOOK | OFlags::DIRECTORY)?,
                // A read-only file system says so even of what is there.
                Err(e) => match self.open(&here, LOOK | OFlags::DIRECTORY) {
                    Ok(there) => parent = there,
                    Err(_) => return Err(e.into()),
                },
            }
        }
        Ok(parent)
    }

    /// Opens what was looked at, and was found to be a file or a directory.
    pub(crate) fn reopen(&self, found: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat(&self.procfs, link(found.as_fd()), flags, Mode::empty())
    }

    /// Sets the mode of what was looked at, whatever it is.
    pub(crate) fn set_mode(&self, found: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
        let none = rustix::fs::AtFlags::empty();
        rustix::fs::chmodat(&self.procfs, link(found.as_fd()), mode, none)
    }

    /// The contents of a file, if there is one at the path, up to a bound.
    pub fn read(&self, path: &Path, bound: u64) -> io::Result<Option<Vec<u8>>> {
        let found = match self.open(path, LOOK) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stat = rustix::fs::fstat(&found)?;
        if !is(&stat, rustix::fs::FileType::RegularFile) {
            return Ok(None);
        }
        let file = File::from(self.reopen(&found, OFlags::RDONLY)?);
        let mut contents = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, bound), &mut contents)?;
        Ok(Some(contents))
    }
}

fn push(ahead: &mut Vec<OsString>, path: &[u8]) {
    let parts = path.split(|b| *b == b'/').rev();
    ahead.extend(
        parts
            .filter(|part| !matches!(*part, b"" | b"."))
            .map(|part| OsString::from_vec(part.to_vec())),
    );
}

/// What a link that was looked at says; `EINVAL` or `ENOENT` if it is none.
pub(crate) fn read_link(found: OwnedFd) -> rustix::io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(found, "", Vec::new())?.into_bytes())
}

pub(crate) fn is(stat: &Stat, kind: rustix::fs::FileType) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode) == kind
}

fn link(fd: BorrowedFd<'_>) -> String {
    format!("self/fd/{}", fd.as_raw_fd())
}

/// A path by which calls without descriptors find a name in a directory; the name is not followed.
pub(crate) fn path_in(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name)
}

/// Looks at a name in a directory.
pub(crate) fn look_in(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, name, LOOK | OFlags::NOFOLLOW, Mode::empty())
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(dir.path(), LOOK, Mode::empty()).unwrap();
        (dir, Root::new(fd).unwrap())
    }

    #[test]
    fn links_are_followed_beneath_the_root() {
        let (dir, root) = root();
        fs::create_dir_all(dir.path().join("var/log")).unwrap();
        symlink("/var", dir.path().join("v")).unwrap();
        symlink("../../../../v/log", dir.path().join("l")).unwrap();
        symlink("nothing/there", dir.path().join("var/gone")).unwrap();
        symlink("circle", dir.path().join("circle")).unwrap();
        let follow = |path: &str| root.follow(Path::new(path));
        assert_eq!(follow("/l/x").unwrap(), Path::new("/var/log/x"));
        assert_eq!(follow("v/../v").unwrap(), Path::new("/var"));
        assert_eq!(
            follow("/v/gone/x").unwrap(),
            Path::new("/var/nothing/there/x")
        );
        assert_eq!(follow("/circle").unwrap_err(), Errno::LOOP);
        assert_eq!(follow("/../..").unwrap(), Path::new("/"));
    }

    #[test]
    fn directories_are_made_beneath_the_root() {
        let (dir, root) = root();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        root.directory(Path::new("/out/a/b")).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("a/b").is_dir());
        fs::write(dir.path().join("file"), "x").unwrap();
        assert!(root.directory(Path::new("/file/x")).is_err());
    }

    #[test]
    fn only_files_are_read() {
        let (dir, root) = root();
        fs::write(dir.path().join("file"), "contents").unwrap();
        let read = |path: &str| root.read(Path::new(path), 4).unwrap();
        assert_eq!(read("/file").unwrap(), b"cont");
        assert_eq!(read("/none"), None);
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, IMPLIED_MODE, 0).unwrap();
        assert_eq!(read("/pipe"), None, "it would wait for ever");
    }
}
