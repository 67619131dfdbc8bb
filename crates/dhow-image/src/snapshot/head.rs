//! What an entry of an archive says before its contents: in the header as far as that goes, beyond in an extended one.

use std::io;

use rustix::fs::Stat;
use tar::{EntryType, Header};

/// What a header's fields hold; more is said in an extended header.
const LONGEST_NAME: usize = 100;
const LARGEST_ID: u32 = 0o7_777_777;
const LARGEST_NUMBER: u64 = 0o77_777_777_777;

/// Keys and values of an extended header.
pub(super) type Records = Vec<(String, Vec<u8>)>;

/// What an entry says before its contents.
pub(super) struct Head<'a> {
    pub kind: EntryType,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    /// None for a marker, which is nobody's and of no time.
    pub stat: Option<&'a Stat>,
    pub size: u64,
}

impl<'a> Head<'a> {
    pub fn new(kind: EntryType, name: Vec<u8>, stat: &'a Stat) -> Head<'a> {
        Head {
            kind,
            name,
            link: Vec::new(),
            stat: Some(stat),
            size: 0,
        }
    }

    /// The header, and the records of the extended header that has to precede it.
    pub fn header(&self) -> io::Result<(Header, Records)> {
        let mut header = Header::new_ustar();
        let mut records = Records::new();
        header.set_entry_type(self.kind);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.size);
        let field = |name: &'static str, value: &[u8], field: &mut [u8], records: &mut Records| {
            let fits = value.len() <= LONGEST_NAME;
            let length = value.len().min(LONGEST_NAME);
            field[..length].copy_from_slice(&value[..length]);
            if !fits {
                records.push((name.to_owned(), value.to_vec()));
            }
        };
        let old = header.as_old_mut();
        field("path", &self.name, &mut old.name, &mut records);
        field("linkpath", &self.link, &mut old.linkname, &mut records);
        let mut number = |name: &str, value: u64, largest: u64| {
            if value > largest {
                records.push((name.to_owned(), value.to_string().into_bytes()));
            }
        };
        number("size", self.size, LARGEST_NUMBER);
        if let Some(stat) = self.stat {
            let (uid, gid) = (stat.st_uid, stat.st_gid);
            number("uid", uid.into(), LARGEST_ID.into());
            number("gid", gid.into(), LARGEST_ID.into());
            header.set_mode(stat.st_mode & 0o7777);
            header.set_uid(uid.min(LARGEST_ID).into());
            header.set_gid(gid.min(LARGEST_ID).into());
            let seconds = stat.st_mtime;
            let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
            let whole = u64::try_from(seconds).unwrap_or(0).min(LARGEST_NUMBER);
            header.set_mtime(whole);
            if nanoseconds != 0 || i64::try_from(whole) != Ok(seconds) {
                records.push(("mtime".to_owned(), time(seconds, nanoseconds).into_bytes()));
            }
            if matches!(self.kind, EntryType::Char | EntryType::Block) {
                header
                    .set_device_major(rustix::fs::major(stat.st_rdev))
                    .and_then(|()| header.set_device_minor(rustix::fs::minor(stat.st_rdev)))?;
            }
        }
        header.set_cksum();
        Ok((header, records))
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

#[cfg(test)]
mod tests {
    use super::time;

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
            assert_eq!(dhow_archive::pax::time(text.as_bytes()), Some(at));
        }
    }
}
