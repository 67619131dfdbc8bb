//! What a container sees at /sys/fs/cgroup: its own groups, one mount a hierarchy on version 1 and one in all
//! on version 2.

use std::io;
use std::path::{Path, PathBuf};

use super::{Layout, Version};

/// One hierarchy's mount, below the container's /sys/fs/cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupMount {
    /// A mount of the hierarchy itself, made inside the container's cgroup namespace, where its root is the
    /// container's group. `fstype` is `cgroup` or `cgroup2`, `data` the mount's options.
    Hierarchy {
        fstype: &'static str,
        data: String,
        target: PathBuf,
    },
    /// A bind of the container's group on the host: without a namespace of its own, the hierarchy's root
    /// would be the host's.
    Bind { source: PathBuf, target: PathBuf },
}

/// All that goes to /sys/fs/cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMounts {
    /// A tmpfs at /sys/fs/cgroup itself carries the others; version 2 needs none.
    pub tmpfs: bool,
    /// `target` is relative to /sys/fs/cgroup; empty for that directory itself.
    pub mounts: Vec<CgroupMount>,
    /// Symbolic links in the tmpfs, name and target: `cpu` for a hierarchy mounted as `cpu,cpuacct`.
    pub links: Vec<(String, String)>,
}

/// What to mount for the group at `path`.
pub fn mounts(path: &str, private_namespace: bool) -> io::Result<CgroupMounts> {
    Ok(of(
        Layout::get()?,
        Path::new(path.trim_start_matches('/')),
        private_namespace,
    ))
}

fn of(layout: &Layout, path: &Path, private_namespace: bool) -> CgroupMounts {
    let mut all = CgroupMounts {
        tmpfs: layout.version() == Version::V1,
        mounts: Vec::new(),
        links: Vec::new(),
    };
    for hierarchy in layout.hierarchies() {
        let data = hierarchy.controllers.join(",");
        let (fstype, target) = match layout.version() {
            // The name of the directory is the host's: programs look for it.
            Version::V1 => (
                "cgroup",
                hierarchy.root.file_name().unwrap_or_default().into(),
            ),
            Version::V2 => ("cgroup2", PathBuf::new()),
        };
        if let Some(name) = target.to_str()
            && name.contains(',')
        {
            let links = hierarchy.controllers.iter().filter(|c| *c != name);
            all.links
                .extend(links.map(|c| (c.clone(), name.to_owned())));
        }
        all.mounts.push(if private_namespace {
            CgroupMount::Hierarchy {
                fstype,
                data,
                target,
            }
        } else {
            CgroupMount::Bind {
                source: hierarchy.root.join(path),
                target,
            }
        });
    }
    all
}
