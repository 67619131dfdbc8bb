//! The mounts of the specification, made beneath the root filesystem before it becomes the root.
//!
//! Targets are resolved as [`super::resolve`] does, and what is missing of them is created.
//! Option names follow the OCI runtime specification, config.md and config-linux.md, "Mounts".

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::options::Options;
use super::resolve::{create, fd_path, make_directory, open_at, open_beneath};
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
