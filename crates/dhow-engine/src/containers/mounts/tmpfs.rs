//! The options of a tmpfs mount: which there are, and what they may say. The kernel tells only of the whole
//! that it does not take it (tmpfs(5), mount(8)).

use crate::error::{EngineError, Result};

/// What the mount itself may be, and how it is shared.
const FLAGS: [&str; 29] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
];

/// Refuses an option that is none, or whose value can't be.
pub fn check_option(option: &str) -> Result<()> {
    if option.is_empty() || FLAGS.contains(&option) {
        return Ok(());
    }
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let good = match name {
        "size" => is_size(value.strip_suffix('%').unwrap_or(value)),
        "nr_inodes" | "nr_blocks" => is_size(value),
        "mode" => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
        "uid" | "gid" => value.parse::<u32>().is_ok_and(|id| id != u32::MAX),
        "mpol" => !value.is_empty(),
        _ => false,
    };
    if good {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "invalid tmpfs option {option:?}: there are size, mode, uid, gid, nr_inodes, nr_blocks and mpol, each with a value, and flags such as exec or ro"
    )))
}

/// A number with or without a factor, as the kernel's memparse reads it.
fn is_size(text: &str) -> bool {
    let digits =
        text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T', 'p', 'P', 'e', 'E']);
    text.len() - digits.len() <= 1 && digits.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        for good in [
            "",
            "exec",
            "rslave",
            "size=64m",
            "size=50%",
            "size=1048576",
            "mode=1777",
            "mode=0755",
            "uid=1000",
            "gid=0",
            "nr_inodes=1k",
            "nr_blocks=100",
            "mpol=default",
        ] {
            check_option(good).unwrap();
        }
        for bad in [
            "nosuchoption",
            "size",
            "size=",
            "size=x",
            "size=1mm",
            "size=-1",
            "size=%",
            "mode=9",
            "mode=17777",
            "uid=root",
            "uid=4294967295",
            "colour=red",
            "bind",
            "remount",
            "nr_inodes=5%",
            "mpol=",
        ] {
            let refused = check_option(bad).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("invalid tmpfs option {bad:?}")),
                "{refused}"
            );
        }
    }
}
