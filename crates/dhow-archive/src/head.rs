//! What an entry says before its contents: in the fields of ustar as far as that goes, and beyond in an extended header
//! before it (POSIX.1-2017, pax). The same file has the same header, always.

use std::io;

use rustix::fs::Stat;
use tar::{Builder, EntryType, Header};

/// What a field for names takes, in bytes.
const NAME_MAX: usize = 100;
/// The largest number of seven octal digits, and of eleven.
const ID_MAX: u32 = 0o7_777_777;
const NUMBER_MAX: u64 = 0o77_777_777_777;
/// Before an extended attribute's name, as other engines write it.
const XATTR: &str = "SCHILY.xattr.";

/// How exact the time of a file's change is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Seconds,
    Nanoseconds,
}

/// An entry's header.
pub struct Head<'a> {
    pub kind: EntryType,
    /// The path in the archive; a directory's ends in a slash.
    pub name: &'a [u8],
    /// What a link leads to; empty for everything else.
    pub link: &'a [u8],
    /// `None` for a marker, which is nobody's and of no time.
    pub stat: Option<&'a Stat>,
    /// Bytes of contents that follow.
    pub size: u64,
    /// Names and values.
    pub xattrs: &'a [(String, Vec<u8>)],
}

/// Writes headers, one after another into the same memory.
pub struct HeadWriter {
    times: Times,
    out: Builder<Vec<u8>>,
}

impl HeadWriter {
    pub fn new(times: Times) -> HeadWriter {
        HeadWriter {
            times,
            out: Builder::new(Vec::new()),
        }
    }

    /// All that comes before the contents, in whole blocks. Fails for a device number that has no room.
    pub fn write(&mut self, head: &Head<'_>) -> io::Result<&[u8]> {
        let mut header = Header::new_ustar();
        header.set_entry_type(head.kind);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(head.size);
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let fields = header.as_old_mut();
        for (key, value, field) in [
            ("path", head.name, &mut fields.name),
            ("linkpath", head.link, &mut fields.linkname),
        ] {
            // As much as has room, for those who do not read extended headers.
            let n = value.len().min(NAME_MAX);
            field[..n].copy_from_slice(&value[..n]);
            if value.len() > NAME_MAX || !value.is_ascii() {
                records.push((key.to_owned(), value.to_vec()));
            }
        }
        let mut number = |key: &str, value: u64, most: u64| {
            if value > most {
                records.push((key.to_owned(), value.to_string().into_bytes()));
            }
        };
        number("size", head.size, NUMBER_MAX);
        if let Some(stat) = head.stat {
            number("uid", stat.st_uid.into(), ID_MAX.into());
            number("gid", stat.st_gid.into(), ID_MAX.into());
            header.set_mode(stat.st_mode & 0o7777);
            header.set_uid(stat.st_uid.min(ID_MAX).into());
            header.set_gid(stat.st_gid.min(ID_MAX).into());
            let seconds: i64 = stat.st_mtime as _;
            let nanoseconds = match self.times {
                Times::Seconds => 0,
                Times::Nanoseconds => stat.st_mtime_nsec as i64,
            };
            let whole = u64::try_from(seconds).unwrap_or(0).min(NUMBER_MAX);
            header.set_mtime(whole);
            if nanoseconds != 0 || i64::try_from(whole) != Ok(seconds) {
                records.push(("mtime".to_owned(), time(seconds, nanoseconds).into_bytes()));
            }
            if matches!(head.kind, EntryType::Char | EntryType::Block) {
                header.set_device_major(rustix::fs::major(stat.st_rdev))?;
                header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
            }
        }
        let xattrs = head.xattrs.iter();
        records.extend(xattrs.map(|(name, value)| (format!("{XATTR}{name}"), value.clone())));

        header.set_cksum();
        self.out.get_mut().clear();
        let records = records
            .iter()
            .map(|(key, value)| (key.as_str(), &value[..]));
        self.out.append_pax_extensions(records)?;
        self.out.get_mut().extend_from_slice(header.as_bytes());
        Ok(self.out.get_ref())
    }
}

/// Seconds since the epoch with their fraction, as short as it goes.
fn time(seconds: i64, nanoseconds: i64) -> String {
    // -1.5 is half a second before -1, and the kernel counts up from -2.
    let (sign, whole, fraction) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, n) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - n),
        (false, n) => ("", seconds.unsigned_abs(), n),
    };
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A file's capabilities (the value of `security.capability`) as they are outside of a user namespace: what version 3
/// adds is the root user of such a namespace, which says nothing elsewhere (capabilities(7), "File capability
/// extended attribute versioning").
pub fn portable_capabilities(mut value: Vec<u8>) -> Vec<u8> {
    const VERSION: usize = 3;
    const SIZE_2: usize = 20;
    if value.len() > SIZE_2 && value[VERSION] == 3 {
        value[VERSION] = 2;
        value.truncate(SIZE_2);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_back_as_they_were() {
        for (at, text) in [
            ((1, 500_000_000), "1.5"),
            ((1, 1), "1.000000001"),
            ((-2, 500_000_000), "-1.5"),
            ((-1, 0), "-1"),
            ((-1, 999_999_999), "-0.000000001"),
            ((7, 0), "7"),
        ] {
            assert_eq!(time(at.0, at.1), text);
            assert_eq!(crate::pax::time(text.as_bytes()), Some(at));
        }
    }

    #[test]
    fn capabilities_lose_the_namespace_they_were_given_in() {
        let mut three = vec![1, 0, 0, 3];
        three.extend([7; 20]);
        let two = portable_capabilities(three);
        assert_eq!((two.len(), two[3]), (20, 2));
        assert_eq!(portable_capabilities(two.clone()), two);
    }
}
