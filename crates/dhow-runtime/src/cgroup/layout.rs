//! Which hierarchies this machine has, read once from /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub root: PathBuf,
    /// Version 1: its controllers, or `name=…`; version 2: none, it has them all.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// A new group in a cpuset hierarchy has no processors until it is given its parent's.
    pub(super) fn inherit(&self, directory: &Path) -> io::Result<()> {
        if !self.has("cpuset") {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(directory);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(directory.join(file))?.trim().is_empty() {
                let inherited = fs::read_to_string(parent.join(file))?;
                super::write(&directory.join(file), inherited.trim())?;
            }
        }
        Ok(())
    }

    /// Version 2: hands every controller that is there down to the groups below `directory`. One that can't
    /// be (a real-time process holds cpu back, say) is left out, and a limit that needs it says so.
    pub(super) fn delegate(&self, directory: &Path) -> io::Result<()> {
        if !self.controllers.is_empty() {
            return Ok(());
        }
        let there = fs::read_to_string(directory.join("cgroup.controllers"))?;
        let control = directory.join("cgroup.subtree_control");
        let handed = fs::read_to_string(&control)?;
        for controller in there.split_whitespace() {
            if !handed.split_whitespace().any(|h| h == controller)
                && let Err(e) = super::write(&control, &format!("+{controller}"))
            {
                tracing::debug!(controller, error = %e, "a cgroup controller is not available");
            }
        }
        Ok(())
    }
}

/// The machine's hierarchies: version 1's (also where version 2 is mounted beside them, without
/// controllers), else version 2's one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    version: Version,
    hierarchies: Vec<Hierarchy>,
}

static LAYOUT: OnceLock<Layout> = OnceLock::new();

impl Layout {
    /// The machine's layout. The first call reads it, and a fork inherits the answer.
    pub fn get() -> io::Result<&'static Layout> {
        if let Some(layout) = LAYOUT.get() {
            return Ok(layout);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let layout = Layout::parse(&mounts).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup hierarchy is mounted: mount cgroup2 at /sys/fs/cgroup",
            )
        })?;
        Ok(LAYOUT.get_or_init(|| layout))
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    pub(super) fn hierarchy_of(&self, controller: &str) -> Option<&Hierarchy> {
        match self.version {
            Version::V1 => self.hierarchies.iter().find(|h| h.has(controller)),
            Version::V2 => self.hierarchies.first(),
        }
    }

    fn parse(mountinfo: &str) -> Option<Layout> {
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((head, tail)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = head.split(' ').nth(4) else {
                continue;
            };
            let mut tail = tail.split(' ');
            let (kind, options) = (tail.next(), tail.nth(1).unwrap_or_default());
            let root = PathBuf::from(unescape(point));
            match kind {
                Some("cgroup") => {
                    let controllers: Vec<String> = options
                        .split(',')
                        .filter(|o| !NOT_CONTROLLERS.contains(o) && !o.contains("release_agent="))
                        .map(str::to_owned)
                        .collect();
                    // A hierarchy that is mounted twice counts once.
                    if !controllers.is_empty() && !v1.iter().any(|h| h.controllers == controllers) {
                        v1.push(Hierarchy { root, controllers });
                    }
                }
                Some("cgroup2") if v2.is_none() => {
                    v2 = Some(Hierarchy {
                        root,
                        controllers: Vec::new(),
                    });
                }
                _ => {}
            }
        }
        let resources = |h: &Hierarchy| h.controllers.iter().any(|c| !c.starts_with("name="));
        if v1.iter().any(resources) {
            return Some(Layout {
                version: Version::V1,
                hierarchies: v1,
            });
        }
        v2.map(|h| Layout {
            version: Version::V2,
            hierarchies: vec![h],
        })
    }
}

/// Mount options of a version 1 hierarchy that are not its controllers.
const NOT_CONTROLLERS: &[&str] = &[
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "cpuset_v2_mode",
    "favordynmods",
    "none",
    "seclabel",
];

/// mountinfo writes space, tab, newline and backslash in octal.
fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let octal = rest
            .get(at + 1..at + 4)
            .and_then(|o| u8::from_str_radix(o, 8).ok());
        match octal {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 31 0:29 / /mnt/again rw,relatime - cgroup cgroup rw,cpu,cpuacct
";
    const UNIFIED: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hybrid_is_version_1() {
        let layout = Layout::parse(HYBRID).unwrap();
        assert_eq!(layout.version(), Version::V1);
        assert_eq!(layout.hierarchies().len(), 2);
        assert_eq!(
            layout.hierarchy_of("cpuacct").unwrap().root,
            Path::new("/sys/fs/cgroup/cpu,cpuacct")
        );
        assert!(layout.hierarchy_of("memory").is_none());
    }

    #[test]
    fn unified_is_version_2_also_beside_a_named_hierarchy() {
        let named = "33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let layout = Layout::parse(&format!("{named}{UNIFIED}")).unwrap();
        assert_eq!(layout.version(), Version::V2);
        assert_eq!(layout.hierarchies()[0].root, Path::new("/sys/fs/cgroup"));
        assert_eq!(Layout::parse("").map(|l| l.version()), None);
    }

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(unescape(r"/a\040b\134c\x"), r"/a b\c\x");
    }
}
