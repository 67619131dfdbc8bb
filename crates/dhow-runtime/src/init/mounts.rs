//! The mounts of the specification, made beneath the root filesystem before it becomes the root.
//!
//! Targets are resolved by openat2 as if the root filesystem were the root, without magic links, so an
//! image's symbolic links lead nowhere else. What is missing of a target is created.
//! Option names follow the OCI runtime specification, config.md and config-linux.md, "Mounts".

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::options::Options;
use super::{Reporter, failed, namespaces, rootfs};
use crate::cgroup::{self, CgroupMount};
use crate::protocol::StartError;
use crate::sys;

/// What of /proc may be mounted over; over anything else a container could be fooled about itself.
const PROC_EXCEPTIONS: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/net/dev",
];

/// How many symbolic links that lead to something missing are followed when it is created.
const MAX_LINKS: usize = 40;

/// A root filesystem in the making.
pub(crate) struct Plan<'a> {
    spec: &'a Spec,
    root: OwnedFd,
}

impl<'a> Plan<'a> {
    pub fn new(spec: &'a Spec, root: OwnedFd) -> Result<Self, StartError> {
        Ok(Self { spec, root })
    }

    pub fn into_root(self) -> OwnedFd {
        self.root
    }

    fn mounts(&self) -> &'a [Mount] {
        self.spec.mounts().as_deref().unwrap_or_default()
    }

    /// Whether /dev is the container's own, to be filled with its nodes, rather than one from outside.
    pub fn owns_dev(&self) -> bool {
        !self
            .mounts()
            .iter()
            .any(|mount| mount.destination() == Path::new("/dev") && is_bind(mount))
    }

    /// All mounts in order but the cgroup filesystems: those wait until this process is in its cgroup.
    pub fn mount_all(&mut self, reporter: &Reporter) -> Result<(), StartError> {
        for mount in self.mounts().iter().filter(|mount| !is_cgroup(mount)) {
            self.mount_one(mount, reporter)?;
        }
        Ok(())
    }

    pub fn mount_cgroups(&mut self, reporter: &Reporter) -> Result<(), StartError> {
        if namespaces::has_own(self.spec, LinuxNamespaceType::Cgroup) {
            // SAFETY: a cgroup namespace changes only how cgroups are shown to this process.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }
                .map_err(failed("creating the cgroup namespace"))?;
        }
        for mount in self.mounts().iter().filter(|mount| is_cgroup(mount)) {
            self.mount_cgroup(mount, reporter)?;
        }
        Ok(())
    }

    fn mount_one(&self, mount: &Mount, reporter: &Reporter) -> Result<(), StartError> {
        let destination = mount.destination();
        let kind = mount.typ().as_deref().unwrap_or("none");
        let options =
            Options::parse(mount.options().as_deref().unwrap_or_default()).map_err(|message| {
                StartError::Other(format!("the mount at {}: {message}", destination.display()))
            })?;
        let inside_proc = destination.starts_with("/proc");
        if inside_proc
            && kind != "proc"
            && !PROC_EXCEPTIONS
                .iter()
                .any(|allowed| destination == Path::new(allowed))
        {
            let name = destination.display();
            return Err(StartError::Other(format!(
                "{name:?} cannot be mounted because it is inside /proc",
                name = name.to_string()
            )));
        }
        let what = || format!("mounting {kind} at {}", destination.display());
        if is_bind(mount) {
            return self.bind(mount, &options, reporter);
        }
        let beneath = open_beneath(&self.root, destination, OFlags::PATH, Mode::empty());
        let target = self.directory(destination)?;
        let mut data = options.data.clone();
        if kind == "tmpfs"
            && !data.split(',').any(|option| option.starts_with("mode="))
            && let Ok(beneath) = beneath
        {
            // As the image has it, unless something else is asked for; where it has nothing, the kernel's
            // default lets everyone write.
            let stat = rustix::fs::fstat(&beneath).map_err(failed(what()))?;
            let separator = if data.is_empty() { "" } else { "," };
            data = format!("mode={:o}{separator}{data}", stat.st_mode & 0o7777);
        }
        let source = mount.source().as_deref().unwrap_or(Path::new(kind));
        let data = CString::new(data).map_err(failed(what()))?;
        rustix::mount::mount(
            source,
            fd_path(&target),
            kind,
            options.flags,
            Some(data.as_c_str()),
        )
        .map_err(failed(what()))?;
        self.finish(destination, &options, reporter)
            .map_err(failed(what()))
    }

    fn bind(
        &self,
        mount: &Mount,
        options: &Options,
        reporter: &Reporter,
    ) -> Result<(), StartError> {
        let destination = mount.destination();
        let source = mount.source().as_deref().ok_or_else(|| {
            StartError::Other(format!(
                "the bind mount at {} has no source",
                destination.display()
            ))
        })?;
        let what = || {
            format!(
                "mounting {:?} at {:?}",
                source.display().to_string(),
                destination.display().to_string()
            )
        };
        let stat = rustix::fs::stat(source).map_err(failed(what()))?;
        let target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(destination)?,
            _ => self.file(destination)?,
        };
        let recursive = options.flags & MountFlags::REC
            | if options.recursive_bind {
                MountFlags::REC
            } else {
                MountFlags::empty()
            };
        rustix::mount::mount(
            source,
            fd_path(&target),
            "",
            MountFlags::BIND | recursive,
            None,
        )
        .map_err(failed(what()))?;
        let plain = options.flags.difference(MountFlags::BIND | MountFlags::REC);
        if !plain.is_empty() || !options.cleared.is_empty() {
            let mounted = self.resolve(destination).map_err(failed(what()))?;
            let kept = rootfs::current_flags(&mounted)
                .map_err(failed(what()))?
                .difference(options.cleared);
            rustix::mount::mount_remount(fd_path(&mounted), MountFlags::BIND | kept | plain, c"")
                .map_err(failed(what()))?;
        }
        self.finish(destination, options, reporter)
            .map_err(failed(what()))
    }

    /// What a mount gets after it was made: propagation, and attributes that hold for all below it.
    fn finish(
        &self,
        destination: &Path,
        options: &Options,
        reporter: &Reporter,
    ) -> Result<(), Errno> {
        if options.propagation.is_empty()
            && options.recursive_set == 0
            && options.recursive_clear == 0
        {
            return Ok(());
        }
        let mounted = self.resolve(destination)?;
        for flags in &options.propagation {
            rustix::mount::mount_change(fd_path(&mounted), *flags)?;
        }
        if options.recursive_set != 0 || options.recursive_clear != 0 {
            match sys::mount_setattr_recursive(
                mounted.as_fd(),
                options.recursive_set,
                options.recursive_clear,
            ) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                    // Docker's own way on kernels before 5.12: read-only holds for the mount itself alone.
                    let kept = rootfs::current_flags(&mounted)?;
                    rustix::mount::mount_remount(
                        fd_path(&mounted),
                        MountFlags::BIND | kept | MountFlags::RDONLY,
                        c"",
                    )?;
                    reporter.warn(format!(
                        "mounts beneath {} are not read-only: the kernel is older than 5.12",
                        destination.display()
                    ));
                }
                result => {
                    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?
                }
            }
        }
        Ok(())
    }

    fn mount_cgroup(&self, mount: &Mount, reporter: &Reporter) -> Result<(), StartError> {
        let destination = mount.destination();
        let options = Options::parse(mount.options().as_deref().unwrap_or_default())
            .map_err(StartError::Other)?;
        let what = || format!("mounting the cgroups at {}", destination.display());
        let own = namespaces::has_own(self.spec, LinuxNamespaceType::Cgroup);
        let path = self
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.cgroups_path().as_deref())
            .unwrap_or(Path::new("/"));
        let all = cgroup::mounts(&path.to_string_lossy(), own).map_err(failed(what()))?;
        let mut target = self.directory(destination)?;
        let read_only = options.flags & MountFlags::RDONLY;
        let writable = options
            .flags
            .difference(MountFlags::RDONLY | MountFlags::REC);
        if all.tmpfs {
            rustix::mount::mount(
                "tmpfs",
                fd_path(&target),
                "tmpfs",
                writable,
                Some(c"mode=755"),
            )
            .map_err(failed(what()))?;
            target = self.resolve(destination).map_err(failed(what()))?;
        }
        for mount in &all.mounts {
            self.mount_hierarchy(
                destination,
                &target,
                mount,
                options.flags.difference(MountFlags::REC),
            )
            .map_err(failed(what()))?;
        }
        for (name, linked) in &all.links {
            match rustix::fs::symlinkat(linked, &target, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(what())(error)),
            }
        }
        if all.tmpfs && !read_only.is_empty() {
            rustix::mount::mount_remount(
                fd_path(&target),
                MountFlags::BIND | writable | read_only,
                c"",
            )
            .map_err(failed(what()))?;
        }
        self.finish(destination, &options, reporter)
            .map_err(failed(what()))
    }

    fn mount_hierarchy(
        &self,
        destination: &Path,
        base: &OwnedFd,
        mount: &CgroupMount,
        flags: MountFlags,
    ) -> Result<(), Errno> {
        let (CgroupMount::Hierarchy { target, .. } | CgroupMount::Bind { target, .. }) = mount;
        let made;
        let at = if target.as_os_str().is_empty() {
            base
        } else {
            make_directory(base, target)?;
            made = open_at(base, target)?;
            &made
        };
        match mount {
            CgroupMount::Hierarchy { fstype, data, .. } => {
                let data = CString::new(data.as_str()).map_err(|_| Errno::INVAL)?;
                rustix::mount::mount(*fstype, fd_path(at), *fstype, flags, Some(data.as_c_str()))
            }
            CgroupMount::Bind { source, .. } => {
                rustix::mount::mount_bind(source, fd_path(at))?;
                let mounted = self.resolve(&destination.join(target))?;
                rustix::mount::mount_remount(fd_path(&mounted), MountFlags::BIND | flags, c"")
            }
        }
    }

    /// Looks a path up beneath the root filesystem.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        open_beneath(&self.root, path, OFlags::PATH, Mode::empty())
    }

    /// The directory at the path, created with its parents if it is missing.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd, StartError> {
        create(&self.root, path, true).map_err(failed(format!(
            "creating the mount point {}",
            path.display()
        )))
    }

    /// The file at the path, created empty, with its parents, if it is missing.
    pub fn file(&self, path: &Path) -> Result<OwnedFd, StartError> {
        create(&self.root, path, false).map_err(failed(format!(
            "creating the mount point {}",
            path.display()
        )))
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }
}

/// A path by which mount(2) finds a descriptor; /proc is the host's until the root is changed.
pub(crate) fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn is_bind(mount: &Mount) -> bool {
    let bind = |options: &Vec<String>| {
        options
            .iter()
            .any(|option| option == "bind" || option == "rbind")
    };
    mount.typ().as_deref() == Some("bind") || mount.options().as_ref().is_some_and(bind)
}

fn is_cgroup(mount: &Mount) -> bool {
    matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
}

/// Opens a path as if `root` were the root directory, and through no magic link.
pub(crate) fn open_beneath(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // Something was renamed meanwhile, so the kernel could not tell where the path led.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn open_at(directory: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn make_directory(parent: &OwnedFd, name: impl rustix::path::Arg) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Opens what is at the path, or creates it there: a directory or an empty file.
pub(crate) fn create(root: &OwnedFd, path: &Path, directory: bool) -> Result<OwnedFd, Errno> {
    match open_beneath(root, path, OFlags::PATH, Mode::empty()) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    let mut path = path.to_owned();
    'links: for _ in 0..MAX_LINKS {
        let components: Vec<_> = path
            .components()
            .filter(|part| {
                matches!(
                    part,
                    std::path::Component::Normal(_) | std::path::Component::ParentDir
                )
            })
            .collect();
        let mut at = PathBuf::from("/");
        for (index, part) in components.iter().enumerate() {
            let parent = open_beneath(root, &at, OFlags::PATH, Mode::empty())?;
            let here = at.join(part);
            let last = index + 1 == components.len();
            match open_beneath(root, &here, OFlags::PATH, Mode::empty()) {
                Ok(found) if last => return Ok(found),
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    let made = if last && !directory {
                        let flags =
                            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                        rustix::fs::openat(
                            &parent,
                            part.as_os_str(),
                            flags,
                            Mode::from_raw_mode(0o755),
                        )
                        .map(drop)
                    } else {
                        rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755))
                    };
                    match made {
                        Ok(()) => {}
                        // A symbolic link to something missing: create what it leads to.
                        Err(Errno::EXIST) => {
                            let link =
                                rustix::fs::readlinkat(&parent, part.as_os_str(), Vec::new())?;
                            let rest: PathBuf = components[index + 1..].iter().collect();
                            let link = Path::new(std::ffi::OsStr::new(
                                link.to_str().map_err(|_| Errno::INVAL)?,
                            ))
                            .to_owned();
                            path = at.join(link).join(rest);
                            continue 'links;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
            at = here;
        }
        return open_beneath(root, &path, OFlags::PATH, Mode::empty());
    }
    Err(Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dir: &Path) -> OwnedFd {
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn links_out_of_the_root_lead_back_into_it() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/nowhere", dir.path().join("relative"))
            .unwrap();
        let root = root(dir.path());
        create(&root, Path::new("/absolute/made"), true).unwrap();
        create(&root, Path::new("/relative/file"), false).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(inside.join("made").is_dir());
        assert!(dir.path().join("etc/nowhere/file").is_file());
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        assert_eq!(
            create(&root(dir.path()), Path::new("/loop/x"), true).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn parts_that_are_there_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let root = root(dir.path());
        create(&root, Path::new("/file"), false).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"x");
        create(&root, Path::new("/a/b/c"), true).unwrap();
        create(&root, Path::new("/a/b/d"), false).unwrap();
        assert!(dir.path().join("a/b/c").is_dir());
        assert!(dir.path().join("a/b/d").is_file());
    }
}
