//! The files of one container's log: the current one, and the rotated ones beside it (`.1` is the newest).
//! A file is known by its inode, because rotation renames it while it is being read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::record::Record;

/// No log has more files than this, whatever is in its directory.
const MAX_FILES: u32 = 1000;
/// How much is read at a time when looking for line ends from the back.
const BACK_STEP: u64 = 64 * 1024;

fn name(path: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// An open file, and how far it has been read.
#[derive(Debug)]
pub struct Position {
    pub file: File,
    pub inode: u64,
    pub offset: u64,
}

fn open(path: &Path) -> io::Result<Option<Position>> {
    match File::open(path) {
        Ok(file) => {
            let inode = file.metadata()?.ino();
            Ok(Some(Position {
                file,
                inode,
                offset: 0,
            }))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// All files, newest first.
fn all(path: &Path) -> io::Result<Vec<Position>> {
    let mut files: Vec<Position> = Vec::new();
    for index in 0..MAX_FILES {
        match open(&name(path, index))? {
            // Rotation while we looked shows one file twice.
            Some(p) if files.iter().any(|f| f.inode == p.inode) => {}
            Some(p) => files.push(p),
            // The current file is missing for an instant while it is being rotated.
            None if index == 0 => {}
            None => break,
        }
    }
    Ok(files)
}

/// Where reading begins: the oldest file, or `tail` whole lines before the end.
pub fn begin(path: &Path, tail: Option<u64>) -> io::Result<Option<Position>> {
    let mut files = all(path)?;
    let Some(tail) = tail else {
        return Ok(files.pop());
    };
    let mut wanted = tail;
    let mut oldest = None;
    for mut position in files {
        let end = position.file.metadata()?.len();
        let (offset, found) = back(&mut position.file, end, wanted)?;
        position.offset = offset;
        wanted -= found;
        let done = offset > 0 || wanted == 0;
        oldest = Some(position);
        if done {
            break;
        }
    }
    Ok(oldest)
}

/// The file after `position`'s, for a reader at its end; `None` if it is the current one.
pub fn next(path: &Path, position: &Position) -> io::Result<Option<Position>> {
    let files = all(path)?;
    let here = files.iter().position(|f| f.inode == position.inode);
    Ok(match here {
        Some(0) => None,
        Some(n) => files.into_iter().nth(n - 1),
        // Rotated out while it was being read: the oldest of those left comes next.
        None => files.into_iter().next_back(),
    })
}

/// The offset from which `wanted` whole lines follow, and how many were found. A line's parts (a record
/// whose text has no newline) belong to the line they begin.
fn back(file: &mut File, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    if wanted == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    // Where the line that is being counted begins.
    let mut begin = end;
    let mut carry: Vec<u8> = Vec::new();
    let mut at = end;
    while at > 0 {
        let step = BACK_STEP.min(at);
        at -= step;
        let mut chunk = vec![0; step as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut chunk)?;
        chunk.extend_from_slice(&carry);
        // Whole records in this chunk are those after its first line end; the rest waits for the chunk before.
        let first = if at == 0 {
            0
        } else {
            match chunk.iter().position(|&b| b == b'\n') {
                Some(n) => n + 1,
                None => {
                    carry = chunk;
                    continue;
                }
            }
        };
        let mut stop = chunk.len();
        while stop > first {
            let line_end = if chunk[stop - 1] == b'\n' {
                stop - 1
            } else {
                stop
            };
            let start = chunk[first..line_end]
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(first, |n| first + n + 1);
            let ends_line =
                Record::parse(&chunk[start..line_end]).is_none_or(|r| r.log.ends_with('\n'));
            if ends_line || begin == end {
                if found == wanted {
                    return Ok((begin, found));
                }
                found += 1;
            }
            begin = at + start as u64;
            stop = start;
        }
        chunk.truncate(first);
        carry = chunk;
    }
    Ok((begin, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(text: &str) -> String {
        format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n")
    }

    fn from(path: &Path, tail: u64) -> String {
        let Some(mut p) = begin(path, Some(tail)).unwrap() else {
            return String::new();
        };
        p.file.seek(SeekFrom::Start(p.offset)).unwrap();
        let mut text = String::new();
        p.file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn tail_counts_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        assert!(begin(&path, Some(3)).unwrap().is_none());
        fs::write(
            &path,
            [line("a\\n"), line("part"), line("b\\n"), line("c\\n")].concat(),
        )
        .unwrap();
        assert_eq!(from(&path, 0), "");
        assert_eq!(from(&path, 1), line("c\\n"));
        assert_eq!(
            from(&path, 2),
            [line("part"), line("b\\n"), line("c\\n")].concat()
        );
        assert_eq!(from(&path, 9).lines().count(), 4);
    }

    #[test]
    fn tail_over_many_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        let text: String = (0..5000).map(|n| line(&format!("{n}\\n"))).collect();
        fs::write(&path, &text).unwrap();
        for tail in [1, 999, 4999, 5000] {
            assert_eq!(from(&path, tail).lines().count() as u64, tail);
        }
    }

    #[test]
    fn tail_reaches_into_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        fs::write(name(&path, 2), line("a\\n")).unwrap();
        fs::write(name(&path, 1), [line("b\\n"), line("c\\n")].concat()).unwrap();
        fs::write(&path, line("d\\n")).unwrap();
        let mut p = begin(&path, Some(2)).unwrap().unwrap();
        assert_eq!(p.inode, fs::metadata(name(&path, 1)).unwrap().ino());
        assert_eq!(p.offset, line("b\\n").len() as u64);
        p = next(&path, &p).unwrap().unwrap();
        assert_eq!(p.inode, fs::metadata(&path).unwrap().ino());
        assert!(next(&path, &p).unwrap().is_none());
    }
}
