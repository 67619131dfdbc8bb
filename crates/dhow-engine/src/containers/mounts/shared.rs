//! Whether a path of the host is where mounts can be shared from (proc_pid_mountinfo(5); the kernel's
//! Documentation/filesystems/sharedsubtree.rst). The kernel shares nothing, without a word, where it is not.

use std::path::{Path, PathBuf};

use crate::error::{EngineError, Result};

/// Refuses, in Docker's words, what could not come to the container or from it. Blocks.
pub fn check(source: &str, propagation: &str) -> Result<()> {
    let (wanted, words): (&[&str], _) = match propagation {
        "shared" | "rshared" => (&["shared:"], "shared"),
        "slave" | "rslave" => (&["shared:", "master:"], "shared or slave"),
        _ => return Ok(()),
    };
    let failed = || EngineError::io("reading the host's mounts");
    let path = std::fs::canonicalize(source).map_err(failed())?;
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(failed())?;
    let Some((mount, shared)) = find(&String::from_utf8_lossy(&mounts), &path, wanted) else {
        return Ok(());
    };
    match shared {
        true => Ok(()),
        false => Err(EngineError::invalid(format!(
            "path {source} is mounted on {} but it is not a {words} mount",
            mount.display()
        ))),
    }
}

/// The mount that a path is on, and whether it has one of the marks.
fn find(mounts: &str, path: &Path, marks: &[&str]) -> Option<(PathBuf, bool)> {
    let mut found: Option<(PathBuf, bool)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let Some(at) = fields.nth(4) else { continue };
        let at = PathBuf::from(unescape(at));
        // Later mounts cover earlier ones.
        let longer = found
            .as_ref()
            .is_none_or(|(longest, _)| at.starts_with(longest));
        if path.starts_with(&at) && longer {
            let marked = fields
                .skip(1)
                .take_while(|field| *field != "-")
                .any(|field| marks.iter().any(|mark| field.starts_with(mark)));
            found = Some((at, marked));
        }
    }
    found
}

/// Space, tab, newline and backslash are written in octal.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, c)| text.replace(code, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
             30 27 0:5 / /mnt/a\\040b rw - tmpfs tmpfs rw\n\
             31 27 0:6 / /srv rw master:4 - tmpfs tmpfs rw\n\
             32 31 0:7 / /srv rw shared:9 master:4 - tmpfs tmpfs rw\n";
        let of = |path: &str, mark: &str| {
            let (mount, marked) = find(mounts, Path::new(path), &[mark]).unwrap();
            (mount.display().to_string(), marked)
        };
        assert_eq!(of("/etc", "shared:"), ("/".to_owned(), true));
        assert_eq!(of("/mnt/a b/c", "shared:"), ("/mnt/a b".to_owned(), false));
        assert_eq!(of("/srv/x", "shared:"), ("/srv".to_owned(), true));
        assert_eq!(of("/srvx", "master:"), ("/".to_owned(), false));
    }
}
