//! The mounts of this process's namespace (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub at: PathBuf,
    /// The peer group, of a shared one.
    pub group: Option<u64>,
}

pub(crate) fn read() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(4)?)));
            let group = fields
                .skip(1)
                .take_while(|field| *field != b"-")
                .find_map(|field| field.strip_prefix(b"shared:"))
                .and_then(|group| std::str::from_utf8(group).ok()?.parse().ok());
            Some(Mount { at, group })
        })
        .collect()
}

/// Space, tab, newline and backslash are written in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_peer_groups_are_read() {
        let text = b"27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n\
            30 27 0:5 / /mnt/a\\040b\\134 rw - tmpfs tmpfs rw\n\
            32 31 0:7 / /srv rw master:4 shared:9 - tmpfs shared:8 rw\n";
        let of = |at: &str, group| Mount {
            at: at.into(),
            group,
        };
        let wanted = [
            of("/", Some(1)),
            of("/mnt/a b\\", None),
            of("/srv", Some(9)),
        ];
        assert_eq!(parse(text), wanted);
    }
}
