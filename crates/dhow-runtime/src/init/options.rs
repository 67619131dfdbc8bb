//! Mount options by name, as the OCI runtime specification lists them (config.md, "Linux mount options").

use std::path::PathBuf;

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::mounts::Owner;
use super::rootfs::propagation_flags;

#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub flags: MountFlags,
    /// What was asked for by a word that takes a flag away, such as `rw`.
    pub cleared: MountFlags,
    pub propagation: Vec<MountPropagationFlags>,
    /// `rbind`: the mounts below come too.
    pub recursive_bind: bool,
    /// MOUNT_ATTR_* for the mount and all below it.
    pub recursive_set: u64,
    pub recursive_clear: u64,
    /// The directory that a bind's source must be in, see [`BENEATH`].
    pub beneath: Option<PathBuf>,
    /// Whose the files of a bind's owner are to be, see [`super::mounts::Owner`].
    pub owner: Owner,
    /// The layers of an image, topmost first, see [`LAYER`].
    pub layers: Vec<PathBuf>,
    /// What is to be mounted of them.
    pub subpath: Option<PathBuf>,
    /// What `rro` asks for is needed, rather than wished for.
    pub strict: bool,
    /// The filesystem's own options.
    pub data: String,
}

/// An option of ours, after the pattern of mount(8)'s options for programs: what a bind mounts is looked up
/// beneath this directory, as if it were the root. A volume's content is its containers', which may change it
/// between a look and the mount.
const BENEATH: &str = "x-dhow.beneath=";

/// Whose the files are to be that belong to the owner of what is mounted, as a number.
const UID: &str = "x-dhow.uid=";
const GID: &str = "x-dhow.gid=";

/// Of a mount of an image: a layer's tree, and what of the whole is mounted.
const LAYER: &str = "x-dhow.layer=";
const SUBPATH: &str = "x-dhow.subpath=";

/// A kernel that can't make all mounts below read-only is to fail.
const STRICT: &str = "x-dhow.strict";

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
const MOUNT_ATTR_ATIME_MASK: u64 = 0x70;
const MOUNT_ATTR_NOATIME: u64 = 0x10;
const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;
/// MS_NOSYMFOLLOW, Linux 5.10.
const NOSYMFOLLOW: MountFlags = MountFlags::from_bits_retain(256);
const MANDLOCK: MountFlags = MountFlags::from_bits_retain(64);
const IVERSION: MountFlags = MountFlags::from_bits_retain(1 << 23);
const SILENT: MountFlags = MountFlags::from_bits_retain(1 << 15);

impl Options {
    pub fn parse<S: AsRef<str>>(options: &[S]) -> Result<Self, String> {
        let mut parsed = Self {
            flags: MountFlags::empty(),
            cleared: MountFlags::empty(),
            propagation: Vec::new(),
            recursive_bind: false,
            recursive_set: 0,
            recursive_clear: 0,
            beneath: None,
            owner: Owner::default(),
            layers: Vec::new(),
            subpath: None,
            strict: false,
            data: String::new(),
        };
        for option in options {
            parsed.add(option.as_ref())?;
        }
        Ok(parsed)
    }

    /// Whether there is something to be changed of a mount that was made.
    pub fn changes_mounted(&self) -> bool {
        !self.propagation.is_empty() || self.recursive_set != 0 || self.recursive_clear != 0
    }

    fn add(&mut self, option: &str) -> Result<(), String> {
        if let Some((set, flag)) = flag(option) {
            let (to, from) = if set {
                (&mut self.flags, &mut self.cleared)
            } else {
                (&mut self.cleared, &mut self.flags)
            };
            *to |= flag;
            *from -= flag;
        } else if let Some((set, clear)) = recursive(option) {
            self.recursive_set = self.recursive_set & !clear | set;
            self.recursive_clear = self.recursive_clear & !set | clear;
        } else if let Some(flags) = propagation_flags(option) {
            self.propagation.push(flags);
        } else if let Some(directory) = option.strip_prefix(BENEATH) {
            self.beneath = Some(directory.into());
        } else if let Some(id) = option.strip_prefix(UID) {
            self.owner.uid = Some(number(option, id)?);
        } else if let Some(id) = option.strip_prefix(GID) {
            self.owner.gid = Some(number(option, id)?);
        } else if let Some(layer) = option.strip_prefix(LAYER) {
            self.layers.push(layer.into());
        } else if let Some(path) = option.strip_prefix(SUBPATH) {
            self.subpath = Some(path.into());
        } else if option == STRICT {
            self.strict = true;
        } else {
            match option {
                "" | "defaults" | "bind" => {}
                "rbind" => self.recursive_bind = true,
                "idmap" | "ridmap" => {
                    return Err(format!(
                        "the option {option} needs user namespaces, which are not supported yet"
                    ));
                }
                data => {
                    if !self.data.is_empty() {
                        self.data.push(',');
                    }
                    self.data.push_str(data);
                }
            }
        }
        Ok(())
    }
}

fn number(option: &str, id: &str) -> Result<u32, String> {
    id.parse()
        .map_err(|_| format!("the option {option} has no number"))
}

fn flag(option: &str) -> Option<(bool, MountFlags)> {
    Some(match option {
        "ro" => (true, MountFlags::RDONLY),
        "rw" => (false, MountFlags::RDONLY),
        "nosuid" => (true, MountFlags::NOSUID),
        "suid" => (false, MountFlags::NOSUID),
        "nodev" => (true, MountFlags::NODEV),
        "dev" => (false, MountFlags::NODEV),
        "noexec" => (true, MountFlags::NOEXEC),
        "exec" => (false, MountFlags::NOEXEC),
        "sync" => (true, MountFlags::SYNCHRONOUS),
        "async" => (false, MountFlags::SYNCHRONOUS),
        "dirsync" => (true, MountFlags::DIRSYNC),
        "mand" => (true, MANDLOCK),
        "nomand" => (false, MANDLOCK),
        "noatime" => (true, MountFlags::NOATIME),
        "atime" => (false, MountFlags::NOATIME),
        "nodiratime" => (true, MountFlags::NODIRATIME),
        "diratime" => (false, MountFlags::NODIRATIME),
        "relatime" => (true, MountFlags::RELATIME),
        "norelatime" => (false, MountFlags::RELATIME),
        "strictatime" => (true, MountFlags::STRICTATIME),
        "nostrictatime" => (false, MountFlags::STRICTATIME),
        "nosymfollow" => (true, NOSYMFOLLOW),
        "symfollow" => (false, NOSYMFOLLOW),
        "iversion" => (true, IVERSION),
        "noiversion" => (false, IVERSION),
        "silent" => (true, SILENT),
        "loud" => (false, SILENT),
        _ => return None,
    })
}

/// Attributes to set and to clear by mount_setattr, with AT_RECURSIVE.
fn recursive(option: &str) -> Option<(u64, u64)> {
    Some(match option {
        "rro" => (MOUNT_ATTR_RDONLY, 0),
        "rrw" => (0, MOUNT_ATTR_RDONLY),
        "rnosuid" => (MOUNT_ATTR_NOSUID, 0),
        "rsuid" => (0, MOUNT_ATTR_NOSUID),
        "rnodev" => (MOUNT_ATTR_NODEV, 0),
        "rdev" => (0, MOUNT_ATTR_NODEV),
        "rnoexec" => (MOUNT_ATTR_NOEXEC, 0),
        "rexec" => (0, MOUNT_ATTR_NOEXEC),
        "rnodiratime" => (MOUNT_ATTR_NODIRATIME, 0),
        "rdiratime" => (0, MOUNT_ATTR_NODIRATIME),
        "rnoatime" => (MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME_MASK),
        "rrelatime" => (0, MOUNT_ATTR_ATIME_MASK),
        "rstrictatime" => (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME_MASK),
        "rnosymfollow" => (MOUNT_ATTR_NOSYMFOLLOW, 0),
        "rsymfollow" => (0, MOUNT_ATTR_NOSYMFOLLOW),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_into_flags_propagation_and_data() {
        let options = Options::parse(&[
            "rbind",
            "ro",
            "nosuid",
            "rprivate",
            "size=64m",
            "mode=1777",
            "rro",
        ])
        .unwrap();
        assert_eq!(options.flags, MountFlags::RDONLY | MountFlags::NOSUID);
        assert!(options.recursive_bind);
        assert_eq!(
            options.propagation,
            [MountPropagationFlags::PRIVATE | MountPropagationFlags::REC]
        );
        assert_eq!(options.data, "size=64m,mode=1777");
        assert_eq!(options.recursive_set, MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let options = Options::parse(&["noexec", "ro", "exec", "rw"]).unwrap();
        assert_eq!(options.flags, MountFlags::empty());
        assert_eq!(options.cleared, MountFlags::RDONLY | MountFlags::NOEXEC);
        assert!(Options::parse(&["idmap"]).is_err());
    }
}
