//! The mounts of the specification, made beneath the root filesystem before it becomes the root.
//!
//! Targets are resolved as [`super::resolve`] does, and what is missing of them is created. What may be mounted
//! is decided by the object that was found, and the mount is made on that object: an image's links, and those
//! of volumes that are mounted already, can make a destination's words mean anything.
//! Option names follow the OCI runtime specification, config.md and config-linux.md, "Mounts".

mod bind;
mod cgroups;
mod image;
mod owner;
mod shm;
mod target;
mod tree;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::options::Options;
use super::procfs::Procfs;
use super::resolve::{create, fd_path, open_beneath};
use super::{Reporter, failed, namespaces, rootfs, unfit};
use crate::protocol::StartError;
use crate::sys;
pub(crate) use owner::Owner;
pub(crate) use shm::of as shm_of;
use tree::mount_id;
pub(crate) use tree::{attach, clone_tree, is_directory};

/// A root filesystem in the making.
pub(crate) struct Plan<'a> {
    spec: &'a Spec,
    root: OwnedFd,
    /// Where the root is on the host.
    root_path: PathBuf,
    procfs: &'a Procfs,
    /// The mounts that nothing from outside is in: the root's, and empty filesystems that were made.
    own: Vec<u64>,
    /// The shared memory of the container whose ipc namespace this one is in.
    pub shm: Option<OwnedFd>,
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
            shm: None,
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
        if kind == image::KIND {
            return self.image(destination, &options, reporter);
        }
        if kind == shm::KIND {
            return self.shared_memory(destination, &options, reporter);
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
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) && !options.strict => {
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
