//! Bind mounts: copies of trees of the host's.

use std::path::Path;

use oci_spec::runtime::Mount;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::target::refused;
use super::tree::{attach, clone_tree, is_directory, look_up_beneath};
use super::{Plan, finish, owner};
use crate::init::options::Options;
use crate::init::procfs;
use crate::init::resolve::fd_path;
use crate::init::{Reporter, failed, rootfs, unfit};
use crate::protocol::StartError;

impl Plan<'_> {
    pub(super) fn bind(
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
        if options.owner.is_other() {
            owner::give(&tree, recursive, options.owner, self.procfs)
                .map_err(|error| owner::refused(source, &tree, error))?;
        }
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
        let mut cleared = options.cleared;
        if options.owner.is_other() {
            cleared.remove(MountFlags::NOSUID);
        }
        if !plain.is_empty() || !cleared.is_empty() {
            let kept = rootfs::current_flags(&tree)
                .map_err(failed(what()))?
                .difference(cleared);
            rustix::mount::mount_remount(fd_path(&tree), MountFlags::BIND | kept | plain, c"")
                .map_err(failed(what()))?;
        }
        finish(&tree, destination, options, reporter).map_err(failed(what()))
    }
}
