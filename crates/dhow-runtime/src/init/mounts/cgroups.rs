//! The control groups' filesystems, as the container may see them.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Mount};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::tree::{attach, clone_tree};
use super::{Plan, finish};
use crate::cgroup::{self, CgroupMount};
use crate::init::options::Options;
use crate::init::resolve::{fd_path, make_directory, open_at};
use crate::init::{Reporter, failed, namespaces};
use crate::protocol::StartError;

impl Plan<'_> {
    pub(super) fn mount_cgroup(
        &self,
        mount: &Mount,
        reporter: &Reporter,
    ) -> Result<(), StartError> {
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
