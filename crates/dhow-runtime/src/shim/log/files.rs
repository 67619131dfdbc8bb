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

    /// `log` becomes `log.1`, that `log.2`, and so on up to the number of files to keep.
    fn rotate(&mut self) -> io::Result<()> {
        if self.max_file == 1 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        // One of the two would outlive the other.
        for last in [logfile::numbered, logfile::compressed] {
            done(std::fs::remove_file(last(&self.path, self.max_file - 1)))?;
        }
        for number in (1..self.max_file - 1).rev() {
            for name in [logfile::numbered, logfile::compressed] {
                done(std::fs::rename(
                    name(&self.path, number),
                    name(&self.path, number + 1),
                ))?;
            }
        }
        std::fs::rename(&self.path, logfile::numbered(&self.path, 1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        if let Some(compressor) = &mut self.compressor {
            compressor.rotated();
            compressor.go_on();
        }
        Ok(())
    }

    /// Begins anew with no entry. Who reads on finds the next file as after a rotation.
    pub fn clear(&mut self) -> io::Result<()> {
        if let Some(compressor) = &mut self.compressor {
            compressor.stop();
        }
        logfile::remove_all(&self.path)?;
        self.file = open(&self.path)?;
        self.size = 0;
        self.lost = 0;
        Ok(())
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
