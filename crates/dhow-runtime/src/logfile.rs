//! What the writer of a log and its readers agree on: how its files are named and known, and the format of
//! the `local` driver.
//!
//! Rotation makes `log` to `log.1`, that to `log.2` and so on; `log.N.gz` is a compressed `log.N`. A reader
//! that is in the middle of one finds the next by the file's [`FileId`], which it keeps through all of this.
//!
//! # The local format
//!
//! An entry is a line: the stream's letter, a space, the time in nanoseconds since the epoch, a space, the
//! text as it came, and a newline. The letter is `o` for standard output and `e` for standard error; in upper
//! case it says that the newline is the entry's alone, and the text goes on in the stream's next one. Behind
//! the letter may be `@` in place of the space: then the attributes come before the text, a JSON object and
//! a tab, which no JSON has inside.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// `path` after so many rotations.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The same, compressed.
pub fn compressed(path: &Path, number: u32) -> PathBuf {
    let mut name = numbered(path, number).into_os_string();
    name.push(".gz");
    name.into()
}

/// Where a file is compressed to before it gets its name.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz.tmp");
    name.into()
}

/// Which file it is, through every renaming and compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    inode: u64,
    /// An inode's number is given to another file once the first is gone; nanoseconds, or 0 where the
    /// filesystem doesn't know.
    born: u128,
}

impl FileId {
    pub fn of(file: &File) -> io::Result<FileId> {
        let metadata = file.metadata()?;
        let born = metadata
            .created()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(FileId {
            inode: metadata.ino(),
            born: born.map_or(0, |since| since.as_nanos()),
        })
    }

    /// As a compressed file says in its header's comment of which file it was made.
    pub fn to_comment(self) -> String {
        format!("dhow {} {}", self.inode, self.born)
    }

    pub fn from_comment(comment: &[u8]) -> Option<FileId> {
        let mut words = std::str::from_utf8(comment).ok()?.split(' ');
        if words.next()? != "dhow" {
            return None;
        }
        Some(FileId {
            inode: words.next()?.parse().ok()?,
            born: words.next()?.parse().ok()?,
        })
    }
}

/// The files of a log that has no writer, all of them.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = name.to_string_lossy();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let own = entry
            .file_name()
            .to_string_lossy()
            .strip_prefix(&*name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if own {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_comment() {
        let file = tempfile::tempfile().unwrap();
        let id = FileId::of(&file).unwrap();
        assert_eq!(FileId::from_comment(id.to_comment().as_bytes()), Some(id));
        for other in ["", "dhow", "dhow 1", "gzip 1 2", "dhow x 2"] {
            assert_eq!(FileId::from_comment(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn all_files_of_a_log_go_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "a.log",
            "a.log.1",
            "a.log.2.gz",
            "a.log.gz.tmp",
            "a.logs",
            "b.log",
        ];
        for name in names {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        remove_all(&dir.path().join("a.log")).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["a.logs", "b.log"]);
    }
}
