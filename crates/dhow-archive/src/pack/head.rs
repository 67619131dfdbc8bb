//! An entry's headers: the fields of ustar, and before them what does not fit there as an extended header.

use std::fs::File;
use std::io;

use rustix::fs::{Stat, fgetxattr};
use tar::{Builder, EntryType, Header};

/// What a field for names takes.
const NAME_MAX: usize = 100;
/// The largest number of seven octal digits, and of eleven.
const ID_MAX: u64 = 0o7777777;
const SIZE_MAX: u64 = 0o77777777777;

pub(super) enum Link<'a> {
    None,
    To(&'a [u8]),
}

/// Writes headers, one after another into the same memory.
pub(super) struct Head(Builder<Vec<u8>>);

impl Default for Head {
    fn default() -> Head {
        Head(Builder::new(Vec::new()))
    }
}

impl Head {
    pub fn write(
        &mut self,
        path: &[u8],
        stat: &Stat,
        kind: EntryType,
        link: Link<'_>,
        capabilities: Option<&[u8]>,
    ) -> io::Result<&[u8]> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        let size = match kind {
            EntryType::Regular => stat.st_size as u64,
            _ => 0,
        };
        header.set_size(size);
        let modified: i64 = stat.st_mtime as _;
        header.set_mtime(u64::try_from(modified).unwrap_or(0));
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(rustix::fs::major(stat.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        }

        let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
        let fields = header.as_old_mut();
        put(&mut fields.name, path);
        if !fits(path) {
            records.push(("path", path.to_vec()));
        }
        if let Link::To(target) = link {
            put(&mut fields.linkname, target);
            if !fits(target) {
                records.push(("linkpath", target.to_vec()));
            }
        }
        for (key, number, most) in [
            ("uid", u64::from(stat.st_uid), ID_MAX),
            ("gid", stat.st_gid.into(), ID_MAX),
            ("size", size, SIZE_MAX),
        ] {
            if number > most {
                records.push((key, number.to_string().into_bytes()));
            }
        }
        if !u64::try_from(modified).is_ok_and(|m| m <= SIZE_MAX) {
            records.push(("mtime", modified.to_string().into_bytes()));
        }
        if let Some(capabilities) = capabilities {
            records.push(("SCHILY.xattr.security.capability", capabilities.to_vec()));
        }

        header.set_cksum();
        self.0.get_mut().clear();
        let records = records.iter().map(|(key, value)| (*key, &value[..]));
        self.0.append_pax_extensions(records)?;
        self.0.get_mut().extend_from_slice(header.as_bytes());
        Ok(self.0.get_ref())
    }
}

fn fits(name: &[u8]) -> bool {
    name.len() <= NAME_MAX && name.is_ascii()
}

/// As much of a name as has room: for those who do not read extended headers.
fn put(field: &mut [u8; NAME_MAX], name: &[u8]) {
    let n = name.len().min(NAME_MAX);
    field[..n].copy_from_slice(&name[..n]);
}

/// A file's capabilities, as they are outside of a user namespace (include/uapi/linux/capability.h): what revision
/// 3 adds is the id of such a namespace's root.
pub(super) fn capabilities(file: &File) -> Option<Vec<u8>> {
    const REVISION_2: usize = 20;
    const VERSION: usize = 3;
    let mut value = [0; 64];
    let size = fgetxattr(file, c"security.capability", &mut value[..]).ok()?;
    let mut value = value[..size].to_vec();
    if size > REVISION_2 && value[VERSION] == 3 {
        value[VERSION] = 2;
        value.truncate(REVISION_2);
    }
    Some(value)
}
