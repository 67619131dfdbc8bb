//! The mounts of the specification, made beneath the root filesystem before it becomes the root.
//!
//! Targets are resolved as [`super::resolve`] does, and what is missing of them is created. What may be mounted
//! is decided by the object that was found, and the mount is made on that object: an image's links, and those
//! of volumes that are mounted already, can make a destination's words mean anything.
//! Option names follow the OCI runtime specification, config.md and config-linux.md, "Mounts".

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};

use super::options::Options;
use super::procfs::{self, Procfs};
use super::resolve::{create, fd_path, make_directory, open_at, open_beneath, open_without_links};
use super::{Reporter, failed, namespaces, rootfs, unfit};
use crate::cgroup::{self, CgroupMount};
use crate::protocol::StartError;
use crate::sys;

/// What of /proc may be mounted over, as in runc; over anything else a container could be fooled about itself.
const PROC_EXCEPTIONS: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// A root filesystem in the making.
pub(crate) struct Plan<'a> {
    spec: &'a Spec,
    root: OwnedFd,
    /// Where the root is on the host.
    root_path: PathBuf,
    procfs: &'a Procfs,
    /// The mounts that nothing from outside is in: the root's, and empty filesystems that were made.
    own: Vec<u64>,
}

/// Where something is to be mounted.
struct Target {
    fd: OwnedFd,
    /// From the container's root, without links.
    path: PathBuf,
    /// It was there before.
    existed: bool,
}

impl Target {
    /// The path beneath /proc, if it is there; empty for /proc itself.
    fn beneath_proc(&self) -> Option<&Path> {
        self.path.strip_prefix("/proc").ok()
    }
}

impl<'a> Plan<'a> {
    pub fn new(spec: &'a Spec, root: OwnedFd, procfs: &'a Procfs) -> Result<Self, StartError> {
        let what = "looking at the root filesystem";
        let root_path = procfs.path_of(&root).map_err(failed(what))?;
        let own = vec![mount_id(&root).map_err(failed(what))?];
        Ok(Self {
            spec,
            root,
            root_path,
            procfs,
            own,
        })
    }

    pub fn into_root(self) -> OwnedFd {
        self.root
    }

    fn mounts(&self) -> &'a [Mount] {
        self.spec.mounts().as_deref().unwrap_or_default()
    }

    /// Whether /dev is the container's own, to be filled with its nodes, rather than one from outside.
    pub fn owns_dev(&self) -> Result<bool, StartError> {
        match self.resolve(Path::new("/dev")) {
            Ok(dev) => mount_id(&dev).map(|id| self.own.contains(&id)),
            Err(Errno::NOENT) => Ok(true),
            Err(error) => Err(error),
        }
        .map_err(failed("looking at /dev"))
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

    fn mount_one(&mut self, mount: &Mount, reporter: &Reporter) -> Result<(), StartError> {
        let destination = mount.destination();
        let kind = mount.typ().as_deref().unwrap_or("none");
        let options =
            Options::parse(mount.options().as_deref().unwrap_or_default()).map_err(|message| {
                StartError::Invalid(format!("the mount at {}: {message}", destination.display()))
            })?;
        if is_bind(mount) {
            return self.bind(mount, &options, reporter);
        }
        let what = || format!("mounting {kind} at {}", destination.display());
        let target = match kind {
            "proc" | "sysfs" => self.ordinary_directory(destination, kind)?,
            _ => self.target(destination, true)?,
        };
        let whole_proc = kind == "proc" && target.path == Path::new("/proc");
        if !whole_proc {
            self.refuse_proc(&target, destination)?;
        }
        let mut data = options.data.clone();
        if kind == "tmpfs"
            && !data.split(',').any(|option| option.starts_with("mode="))
            && target.existed
        {
            // As the image has it, unless something else is asked for; where it has nothing, the kernel's
            // default lets everyone write.
            let stat = rustix::fs::fstat(&target.fd).map_err(failed(what()))?;
            let separator = if data.is_empty() { "" } else { "," };
            data = format!("mode={:o}{separator}{data}", stat.st_mode & 0o7777);
        }
        let source = mount.source().as_deref().unwrap_or(Path::new(kind));
        let data = CString::new(data).map_err(failed(what()))?;
        rustix::mount::mount(
            source,
            fd_path(&target.fd),
            kind,
            options.flags,
            Some(data.as_c_str()),
        )
        .map_err(|error| match kind {
            // It is the options that the kernel does not take.
            "tmpfs" => unfit(what())(error),
            _ => failed(what())(error),
        })?;
        if kind == "tmpfs" {
            let made = self.mounted(&target).map_err(failed(what()))?;
            self.own.push(mount_id(&made).map_err(failed(what()))?);
        }
        if options.changes_mounted() {
            let made = self.mounted(&target).map_err(failed(what()))?;
            finish(&made, destination, &options, reporter).map_err(failed(what()))?;
        }
        Ok(())
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
        let recursive = options.recursive_bind || options.flags.contains(MountFlags::REC);
        let tree = match &options.beneath {
            None => clone_tree(rustix::fs::CWD, source, recursive),
            Some(directory) => look_up_beneath(directory, source)
                .and_then(|source| clone_tree(&source, Path::new(""), recursive)),
        }
        .map_err(unfit(what()))?;
        let directory = is_directory(&tree).map_err(failed(what()))?;
        let target = self.target(destination, directory)?;
        match target.beneath_proc() {
            Some(proc) if proc.as_os_str().is_empty() => {
                if !procfs::is_root(&tree).map_err(failed(what()))? {
                    return Err(refused(&target, destination, "it is not of type proc"));
                }
            }
            _ => self.refuse_proc(&target, destination)?,
        }
        if is_directory(&target.fd).map_err(failed(what()))? != directory {
            return Err(unfit(what())(Errno::NOTDIR));
        }
        attach(&tree, &target.fd).map_err(failed(what()))?;
        let plain = options.flags.difference(MountFlags::BIND | MountFlags::REC);
        if !plain.is_empty() || !options.cleared.is_empty() {
            let kept = rootfs::current_flags(&tree)
                .map_err(failed(what()))?
                .difference(options.cleared);
            rustix::mount::mount_remount(fd_path(&tree), MountFlags::BIND | kept | plain, c"")
                .map_err(failed(what()))?;
        }
        finish(&tree, destination, options, reporter).map_err(failed(what()))
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
        let target = self.target(destination, true)?;
        self.refuse_proc(&target, destination)?;
        let read_only = options.flags & MountFlags::RDONLY;
        let writable = options
            .flags
            .difference(MountFlags::RDONLY | MountFlags::REC);
        let mut base = None;
        if all.tmpfs {
            rustix::mount::mount(
                "tmpfs",
                fd_path(&target.fd),
                "tmpfs",
                writable,
                Some(c"mode=755"),
            )
            .map_err(failed(what()))?;
            base = Some(self.mounted(&target).map_err(failed(what()))?);
        }
        let base = base.as_ref().unwrap_or(&target.fd);
        for mount in &all.mounts {
            mount_hierarchy(base, mount, options.flags.difference(MountFlags::REC))
                .map_err(failed(what()))?;
        }
        for (name, linked) in &all.links {
            match rustix::fs::symlinkat(linked, base, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(what())(error)),
            }
        }
        if all.tmpfs && !read_only.is_empty() {
            rustix::mount::mount_remount(
                fd_path(base),
                MountFlags::BIND | writable | read_only,
                c"",
            )
            .map_err(failed(what()))?;
        }
        if options.changes_mounted() {
            let made = self.mounted(&target).map_err(failed(what()))?;
            finish(&made, destination, &options, reporter).map_err(failed(what()))?;
        }
        Ok(())
    }

    /// Looks a path up beneath the root filesystem.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        open_beneath(&self.root, path, OFlags::PATH, Mode::empty())
    }

    /// The directory at the path, created with its parents if it is missing.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd, StartError> {
        create(&self.root, path, true).map_err(unfit(format!("creating {}", path.display())))
    }

    /// The file at the path, created empty, with its parents, if it is missing, for a mount on it.
    pub fn file_to_cover(&self, path: &Path) -> Result<OwnedFd, StartError> {
        let target = self.target(path, false)?;
        self.refuse_proc(&target, path)?;
        Ok(target.fd)
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    pub fn procfs(&self) -> &'a Procfs {
        self.procfs
    }

    /// Finds a mount point, or creates it.
    fn target(&self, destination: &Path, directory: bool) -> Result<Target, StartError> {
        let what = || format!("creating the mount point {}", destination.display());
        let (fd, existed) = match self.resolve(destination) {
            Ok(fd) => (fd, true),
            Err(Errno::NOENT) => {
                let fd = create(&self.root, destination, directory).map_err(unfit(what()))?;
                (fd, false)
            }
            Err(error) => return Err(unfit(what())(error)),
        };
        self.located(fd, existed, destination)
    }

    /// A mount point that no link leads to: where procfs and sysfs are, nothing may be mistaken (the class of
    /// CVE-2019-19921).
    fn ordinary_directory(&self, destination: &Path, kind: &str) -> Result<Target, StartError> {
        let find = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            open_without_links(&self.root, destination, flags)
        };
        let what = || format!("creating the mount point {}", destination.display());
        let (found, existed) = match find() {
            Err(Errno::NOENT) => {
                create(&self.root, destination, true).map_err(unfit(what()))?;
                (find(), false)
            }
            found => (found, true),
        };
        match found {
            Ok(fd) => self.located(fd, existed, destination),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(StartError::Invalid(format!(
                "filesystem {kind:?} must be mounted on ordinary directory: {} is none in this image",
                destination.display()
            ))),
            Err(error) => Err(unfit(what())(error)),
        }
    }

    fn located(
        &self,
        fd: OwnedFd,
        existed: bool,
        destination: &Path,
    ) -> Result<Target, StartError> {
        let what = || format!("looking at the mount point {}", destination.display());
        let path = self.procfs.path_of(&fd).map_err(failed(what()))?;
        let Ok(path) = path.strip_prefix(&self.root_path) else {
            return Err(failed(what())("it is outside of the root filesystem"));
        };
        let target = Target {
            fd,
            path: Path::new("/").join(path),
            existed,
        };
        if target.path == Path::new("/") {
            let why = "it is the root of the container";
            return Err(refused(&target, destination, why));
        }
        Ok(target)
    }

    /// Nothing is mounted on procfs, or where it is going to be, but on the exceptions.
    fn refuse_proc(&self, target: &Target, destination: &Path) -> Result<(), StartError> {
        let beneath = target.beneath_proc();
        let what = || format!("looking at the mount point {}", destination.display());
        if beneath.is_none() && !procfs::is_procfs(&target.fd).map_err(failed(what()))? {
            return Ok(());
        }
        if let Some(beneath) = beneath
            && PROC_EXCEPTIONS
                .iter()
                .any(|name| beneath == Path::new(name))
        {
            return Ok(());
        }
        Err(refused(target, destination, "it is inside /proc"))
    }

    /// The mount that was just made on a target, which its descriptor does not name: that is what is covered.
    fn mounted(&self, target: &Target) -> Result<OwnedFd, Errno> {
        let found = open_without_links(&self.root, &target.path, OFlags::PATH)?;
        // Links can't have led elsewhere; a directory of a volume may have been moved meanwhile.
        if mount_id(&found)? == mount_id(&target.fd)? {
            return Err(Errno::AGAIN);
        }
        Ok(found)
    }
}

fn refused(target: &Target, destination: &Path, why: &str) -> StartError {
    let path = target.path.display().to_string();
    let leads = match target.path == destination {
        true => String::new(),
        false => format!(" ({:?} leads there)", destination.display().to_string()),
    };
    StartError::Invalid(format!("{path:?} cannot be mounted because {why}{leads}"))
}

/// What a mount gets after it was made: propagation, and attributes that hold for all below it.
fn finish(
    mounted: &OwnedFd,
    destination: &Path,
    options: &Options,
    reporter: &Reporter,
) -> Result<(), Errno> {
    for flags in &options.propagation {
        rustix::mount::mount_change(fd_path(mounted), *flags)?;
    }
    if options.recursive_set != 0 || options.recursive_clear != 0 {
        match sys::mount_setattr_recursive(
            mounted.as_fd(),
            options.recursive_set,
            options.recursive_clear,
        ) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                // Docker's own way on kernels before 5.12: read-only holds for the mount itself alone.
                let kept = rootfs::current_flags(mounted)?;
                rustix::mount::mount_remount(
                    fd_path(mounted),
                    MountFlags::BIND | kept | MountFlags::RDONLY,
                    c"",
                )?;
                reporter.warn(format!(
                    "mounts beneath {} are not read-only: the kernel is older than 5.12",
                    destination.display()
                ));
            }
            result => result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?,
        }
    }
    Ok(())
}

fn mount_hierarchy(base: &OwnedFd, mount: &CgroupMount, flags: MountFlags) -> Result<(), Errno> {
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
            let tree = clone_tree(rustix::fs::CWD, source, false)?;
            attach(&tree, at)?;
            rustix::mount::mount_remount(fd_path(&tree), MountFlags::BIND | flags, c"")
        }
    }
}

/// What is at `path` in a directory that others may change meanwhile; no link leads there.
fn look_up_beneath(directory: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    let path = path.strip_prefix(directory).map_err(|_| Errno::XDEV)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, so the kernel could not tell where the path led.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A copy of a mount, or of all that are in a directory, that is mounted nowhere yet. The descriptor goes on
/// naming it once it is.
pub(crate) fn clone_tree(
    directory: impl AsFd,
    path: &Path,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    rustix::mount::open_tree(directory, path, flags)
}

/// Mounts it on what a descriptor names.
pub(crate) fn attach(tree: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags)
}

fn mount_id(fd: &OwnedFd) -> Result<u64, Errno> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(stat.stx_mnt_id)
}

pub(crate) fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
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
