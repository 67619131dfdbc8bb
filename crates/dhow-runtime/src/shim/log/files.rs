//! The file that a log is written to, its rotation, and the compression of those before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::compress::Compressor;
use super::entry::{Entry, Stream, encode};
use crate::logfile;
use crate::protocol::{LogFile, LogFormat};

pub(super) struct Files {
    path: PathBuf,
    format: LogFormat,
    attrs: String,
    file: File,
    /// The file has no name any more, and the next could not be made yet.
    nameless: bool,
    size: u64,
    max_size: Option<u64>,
    max_file: u32,
    compressor: Option<Compressor>,
    /// Entries that could not be written, since one last could.
    lost: u64,
}

impl Files {
    pub fn open(wanted: &LogFile) -> io::Result<Self> {
        let file = open(&wanted.path)?;
        let size = end_last_entry(&file, &wanted.path)?;
        let max_file = wanted.max_file.max(1);
        let mut compressor = (wanted.compress && max_file > 1 && wanted.max_size.is_some())
            .then(|| Compressor::new(wanted.path.clone(), max_file));
        if let Some(compressor) = &mut compressor {
            compressor.go_on();
        }
        Ok(Self {
            path: wanted.path.clone(),
            format: wanted.format,
            attrs: wanted.attrs.clone(),
            file,
            nameless: false,
            size,
            max_size: wanted.max_size,
            max_file,
            compressor,
            lost: 0,
        })
    }

    /// Appends an entry to what is to be written.
    pub fn encode(&self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        encode(out, self.format, &self.attrs, entry);
    }

    /// Writes entries, with a rotation wherever one before has filled the file.
    pub fn append(&mut self, mut entries: &[u8]) {
        if self.nameless && self.begin().is_err() {
            return self.lose(entries);
        }
        let Some(max_size) = self.max_size else {
            return self.append_unrotated(entries);
        };
        while !entries.is_empty() {
            if self.size >= max_size && self.rotate().is_err() {
                return self.lose(entries);
            }
            // An entry has no newline but its last byte.
            let room = (max_size - self.size).min(entries.len() as u64) as usize;
            let end = entries[room.saturating_sub(1)..]
                .iter()
                .position(|byte| *byte == b'\n');
            let (now, later) =
                entries.split_at(end.map_or(entries.len(), |end| room.saturating_sub(1) + end + 1));
            self.append_unrotated(now);
            entries = later;
        }
    }

    /// When writing fails, the disk being full, the entries are lost, the container goes on, and the next
    /// that can be written is preceded by one that says how many are missing.
    fn append_unrotated(&mut self, entries: &[u8]) {
        let marked;
        let mut bytes = entries;
        if self.lost > 0 {
            let message = format!(
                "[dhow: {} log entries were lost here, they could not be written]\n",
                self.lost
            );
            let mut with_marker = Vec::with_capacity(entries.len() + 200);
            let marker = Entry {
                stream: Stream::Stderr,
                time: Timestamp::now(),
                text: message.as_bytes(),
            };
            self.encode(&mut with_marker, &marker);
            with_marker.extend_from_slice(entries);
            marked = with_marker;
            bytes = &marked;
        }
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.size += bytes.len() as u64;
                self.lost = 0;
            }
            Err(_) => {
                self.lose(entries);
                // Half an entry would spoil the next one. If this fails as well, readers skip the line.
                let _ = self.file.set_len(self.size);
            }
        }
    }

    fn lose(&mut self, entries: &[u8]) {
        self.lost += entries.iter().filter(|byte| **byte == b'\n').count() as u64;
    }

    /// `log` becomes `log.1`, that `log.2`, and so on up to the number of files to keep. After a failure the
    /// next call goes on where this one ended, and takes nothing more away.
    fn rotate(&mut self) -> io::Result<()> {
        // Somebody may have taken the file away. Then nothing takes the place of the others.
        if self.path.try_exists()? {
            if self.max_file == 1 {
                self.file.set_len(0)?;
                self.size = 0;
                return Ok(());
            }
            self.make_room()?;
            done(std::fs::rename(
                &self.path,
                logfile::numbered(&self.path, 1),
            ))?;
        }
        self.nameless = true;
        self.begin()?;
        if let Some(compressor) = &mut self.compressor {
            compressor.go_on();
        }
        Ok(())
    }

    /// Leaves no `log.1`: the files up to the first number that none has become one older, and the oldest goes
    /// only where each has one.
    fn make_room(&mut self) -> io::Result<()> {
        let names = [logfile::numbered, logfile::compressed];
        let mut free = 1;
        while free < self.max_file
            && (names[0](&self.path, free).try_exists()?
                || names[1](&self.path, free).try_exists()?)
        {
            free += 1;
        }
        for number in (1..free).rev() {
            for name in names {
                let old = name(&self.path, number);
                // One of the two would outlive the other.
                done(if number + 1 == self.max_file {
                    std::fs::remove_file(old)
                } else {
                    std::fs::rename(old, name(&self.path, number + 1))
                })?;
            }
            if let Some(compressor) = &mut self.compressor {
                compressor.aged(number);
            }
        }
        Ok(())
    }

    /// Makes the file that has the name from now on.
    fn begin(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.size = 0;
        self.nameless = false;
        Ok(())
    }

    /// Begins anew with no entry. Who reads on finds the next file as after a rotation.
    pub fn clear(&mut self) -> io::Result<()> {
        if let Some(compressor) = &mut self.compressor {
            compressor.stop();
        }
        let removed = logfile::remove_all(&self.path);
        // It may have gone before what could not be removed.
        self.nameless |= !self.path.try_exists().unwrap_or(true);
        removed?;
        self.lost = 0;
        self.begin()
    }

    /// A child has ended that none of the container's processes is.
    pub fn child_ended(&mut self, pid: i32, code: i32) {
        if let Some(compressor) = &mut self.compressor {
            compressor.child_ended(pid, code);
        }
    }
}

/// What is not there need not be renamed or removed.
fn done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// An entry that a loss of power cut short would spoil the next one. Returns the file's size.
fn end_last_entry(file: &File, path: &Path) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(0);
    }
    let mut last = [0];
    let mut reader = File::open(path)?;
    reader.seek(SeekFrom::Start(size - 1))?;
    reader.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(size);
    }
    // On a full disk it is the next entry that is skipped, as it would be without this.
    Ok(match (&*file).write_all(b"\n") {
        Ok(()) => size + 1,
        Err(_) => size,
    })
}

#[cfg(test)]
impl Files {
    pub fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path, max_file: u32) -> Files {
        Files::open(&LogFile {
            path: dir.join("log"),
            format: LogFormat::JsonFile,
            max_size: Some(1),
            max_file,
            compress: false,
            attrs: String::new(),
        })
        .unwrap()
    }

    fn texts(dir: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        all.sort();
        all
    }

    fn expected(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|(name, text)| ((*name).to_owned(), format!("{text}\n")))
            .collect()
    }

    #[test]
    fn a_file_that_somebody_removed_takes_no_other_with_it() {
        for (max_file, left) in [
            (3, [("log", "d"), ("log.1", "b"), ("log.2", "a")].as_slice()),
            (1, &[("log", "d")]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut files = files(dir.path(), max_file);
            for entry in ["a\n", "b\n", "c\n"] {
                files.append(entry.as_bytes());
            }
            std::fs::remove_file(dir.path().join("log")).unwrap();
            files.append(b"d\n");
            assert_eq!(texts(dir.path()), expected(left));
        }
    }

    #[test]
    fn a_rotation_that_fails_takes_nothing_away_and_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 3);
        for entry in ["a\n", "b\n", "c\n"] {
            files.append(entry.as_bytes());
        }
        // As a rotation leaves it whose next file can't be made, here as something else has its name.
        files.make_room().unwrap();
        std::fs::rename(dir.path().join("log"), dir.path().join("log.1")).unwrap();
        files.nameless = true;
        std::fs::create_dir(dir.path().join("log")).unwrap();
        for _ in 0..5 {
            files.append(b"lost\n");
        }
        assert_eq!(
            texts(dir.path()),
            expected(&[("log.1", "c"), ("log.2", "b")])
        );
        std::fs::remove_dir(dir.path().join("log")).unwrap();
        files.append(b"d\n");
        let all = texts(dir.path());
        assert!(
            all[0].1.contains("5 log entries were lost") && all[0].1.ends_with("d\n"),
            "{all:?}"
        );
        assert_eq!(all[1..], expected(&[("log.1", "c"), ("log.2", "b")]));
    }

    #[test]
    fn what_comes_after_a_clearing_that_failed_is_in_a_file_with_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 3);
        files.append(b"a\n");
        // No file, so it can't be removed.
        std::fs::create_dir(dir.path().join("log.1")).unwrap();
        std::fs::remove_file(dir.path().join("log")).unwrap();
        assert!(files.clear().is_err());
        files.append(b"b\n");
        assert_eq!(texts(dir.path()), expected(&[("log", "b")]));
    }
}
