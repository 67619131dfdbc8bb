//! Files with several names: the first is the file, and the others are links to it.

use std::collections::HashMap;

use rustix::fs::Stat;

/// Bytes that are kept of first names. Beyond that a file with several names is written as several files.
const MOST: usize = 64 << 20;
/// What a name takes beside its own bytes.
const OVERHEAD: usize = 96;

/// The first names of files that have further ones to come.
#[derive(Default)]
pub struct Links {
    /// By device and inode: the name, and how many follow.
    files: HashMap<(u64, u64), (Vec<u8>, u64)>,
    bytes: usize,
}

impl Links {
    /// The name under which a file is in the archive; `None` if it is not, and comes in under this one.
    pub fn first_name(&mut self, name: &[u8], stat: &Stat) -> Option<Vec<u8>> {
        let links: u64 = stat.st_nlink as _;
        if links < 2 {
            return None;
        }
        let file = (stat.st_dev, stat.st_ino);
        if let Some((first, left)) = self.files.get_mut(&file) {
            *left -= 1;
            if *left > 0 {
                return Some(first.clone());
            }
            let (first, _) = self.files.remove(&file)?;
            self.bytes -= first.len() + OVERHEAD;
            return Some(first);
        }
        let bytes = name.len() + OVERHEAD;
        if self.bytes + bytes <= MOST {
            self.bytes += bytes;
            self.files.insert(file, (name.to_vec(), links - 1));
        }
        None
    }
}
