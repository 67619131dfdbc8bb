//! Mounts of images: the layers of one, merged and read-only.
//!
//! Follows the kernel's Documentation/filesystems/overlayfs.rst, "Multiple lower layers".

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::tree::{attach, clone_tree, is_directory};
use super::{Plan, finish};
use crate::init::options::Options;
use crate::init::resolve::{fd_path, open_beneath};
use crate::init::{Reporter, failed, rootfs, unfit};
use crate::protocol::StartError;

/// The type that such a mount has in the specification.
pub(super) const KIND: &str = "x-dhow.image";

impl Plan<'_> {
    pub(super) fn image(
        &self,
        destination: &Path,
        options: &Options,
        reporter: &Reporter,
    ) -> Result<(), StartError> {
        let what = || {
            format!(
                "mounting an image at {:?}",
                destination.display().to_string()
            )
        };
        let tree = self.merged(options).map_err(unfit(match &options.subpath {
            Some(path) => format!("{}: cannot access path {}", what(), path.display()),
            None => what(),
        }))?;
        let directory = is_directory(&tree).map_err(failed(what()))?;
        let target = self.target(destination, directory)?;
        self.refuse_proc(&target, destination)?;
        if is_directory(&target.fd).map_err(failed(what()))? != directory {
            return Err(unfit(what())(Errno::NOTDIR));
        }
        attach(&tree, &target.fd).map_err(failed(what()))?;
        finish(&tree, destination, options, reporter).map_err(failed(what()))
    }

    /// A tree of what is wanted of the layers, mounted nowhere yet.
    fn merged(&self, options: &Options) -> Result<OwnedFd, Errno> {
        // Kernels before 6.15 copy only what is mounted: for that time it is over the root.
        let whole = match rootfs::layers_alone(&options.layers) {
            Ok(whole) => {
                attach(&whole, &self.root)?;
                whole
            }
            // Kernels before 6.8 take all layers in one string.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rootfs::layers_alone_by_mount(&options.layers, &self.root)?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(&self.root_path, flags, Mode::empty())?
            }
            Err(error) => return Err(error),
        };
        let path = options.subpath.as_deref().unwrap_or(Path::new("/"));
        let tree = open_beneath(&whole, path, OFlags::PATH, Mode::empty())
            .and_then(|found| clone_tree(&found, Path::new(""), false));
        rustix::mount::unmount(fd_path(&whole), UnmountFlags::DETACH)?;
        tree
    }
}
