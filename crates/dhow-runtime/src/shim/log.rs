//! The container's log in Docker's json-file format: a JSON object a line of output.
//!
//! Lines longer than 16 KiB are cut into entries without a newline at their end, as is output that ends
//! without one. Escapes are those of Go's JSON encoder as Docker's own writer has them, byte for byte, which
//! no JSON library here writes: others escape a tab shorter, and leave `<`, `>`, `&`, U+2028 and U+2029.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::protocol::LogSink;

/// Docker's copier has a buffer of this size for each stream.
const MAX_LINE: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What has come of a line that is not complete.
#[derive(Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// All entries of one line have the time of its first.
    since: Option<Timestamp>,
}

pub(crate) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: Option<u64>,
    max_file: u32,
    stdout: Unfinished,
    stderr: Unfinished,
    /// Entries that could not be written, since one last could.
    lost: u64,
}

impl Log {
    /// `None` for a container without a log.
    pub fn open(sink: &LogSink) -> io::Result<Option<Self>> {
        let LogSink::JsonFile {
            path,
            max_size,
            max_file,
        } = sink
        else {
            return Ok(None);
        };
        let file = open(path)?;
        let size = file.metadata()?.len();
        let (stdout, stderr) = Default::default();
        let max_file = (*max_file).max(1);
        Ok(Some(Self {
            path: path.clone(),
            file,
            size,
            max_size: *max_size,
            max_file,
            stdout,
            stderr,
            lost: 0,
        }))
    }

    /// Takes a piece of output in, and writes the entries that it completes.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = Timestamp::now();
        let unfinished = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut entries = Vec::with_capacity(bytes.len() + 128);
        while !bytes.is_empty() {
            let room = MAX_LINE - unfinished.bytes.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(window.len(), |at| at + 1);
            unfinished.bytes.extend_from_slice(&window[..taken]);
            bytes = &bytes[taken..];
            if newline.is_some() || unfinished.bytes.len() == MAX_LINE {
                let time = match newline {
                    Some(_) => unfinished.since.take().unwrap_or(now),
                    None => *unfinished.since.get_or_insert(now),
                };
                entry(&mut entries, &unfinished.bytes, stream, time);
                unfinished.bytes.clear();
            }
        }
        // A long line's buffer is not kept by a container that wrote one once.
        if unfinished.bytes.is_empty() {
            unfinished.bytes = Vec::new();
        }
        if !entries.is_empty() {
            self.append(&entries);
        }
    }

    /// The streams have ended: what is left of unfinished lines is written as it is.
    pub fn finish(&mut self) {
        let now = Timestamp::now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = std::mem::take(match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            });
            if !unfinished.bytes.is_empty() {
                let mut entries = Vec::new();
                entry(
                    &mut entries,
                    &unfinished.bytes,
                    stream,
                    unfinished.since.unwrap_or(now),
                );
                self.append(&entries);
            }
        }
    }

    /// Writes entries, with a rotation wherever one before has filled the file.
    fn append(&mut self, mut entries: &[u8]) {
        let Some(max_size) = self.max_size else {
            return self.append_unrotated(entries);
        };
        while !entries.is_empty() {
            if self.size >= max_size && self.rotate().is_err() {
                return self.lose(entries);
            }
            // An entry has no newline but its last byte: what is in the text is escaped.
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
            entry(
                &mut with_marker,
                message.as_bytes(),
                Stream::Stderr,
                Timestamp::now(),
            );
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
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.max_file == 1 {
            self.file.set_len(0)?;
        } else {
            for number in (1..self.max_file - 1).rev() {
                match std::fs::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&self.path, numbered(1))?;
            self.file = open(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn entry(out: &mut Vec<u8>, log: &[u8], stream: Stream, time: Timestamp) {
    out.extend_from_slice(b"{\"log\":");
    string(out, log);
    // Writing to a vector does not fail.
    let _ = writeln!(
        out,
        ",\"stream\":\"{}\",\"time\":\"{time}\"}}",
        stream.name()
    );
}

/// A JSON string; bytes that are not UTF-8 become U+FFFD each.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut copied = 0;
        for (at, byte) in valid.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                0..0x20 | b'<' | b'>' | b'&' => &[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[(byte >> 4) as usize],
                    HEX[(byte & 15) as usize],
                ],
                // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
                0xe2 if valid[at..].starts_with(&[0xe2, 0x80, 0xa8]) => b"\\u2028",
                0xe2 if valid[at..].starts_with(&[0xe2, 0x80, 0xa9]) => b"\\u2029",
                _ => continue,
            };
            out.extend_from_slice(&valid[copied..at]);
            out.extend_from_slice(escape);
            copied = at + if *byte == 0xe2 { 3 } else { 1 };
        }
        out.extend_from_slice(&valid[copied..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(dir: &Path, max_size: Option<u64>, max_file: u32) -> LogSink {
        LogSink::JsonFile {
            path: dir.join("log"),
            max_size,
            max_file,
        }
    }

    fn entries(path: &Path) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(value["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
                (
                    value["stream"].as_str().unwrap().into(),
                    value["log"].as_str().unwrap().into(),
                )
            })
            .collect()
    }

    #[test]
    fn escapes_are_gos() {
        let mut out = Vec::new();
        string(
            &mut out,
            b"a\tb<c>&\"\\\x01\r\n\xff\xfe\xc3\xa9\xe2\x80\xa8\xe2\x82\xac",
        );
        let expected =
            "\"a\\u0009b\\u003cc\\u003e\\u0026\\\"\\\\\\u0001\\r\\n\\ufffd\\ufffdé\\u2028€\"";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_entry_is_dockers_to_the_byte() {
        let mut out = Vec::new();
        entry(
            &mut out,
            b"hi\n",
            Stream::Stdout,
            "2026-01-02T03:04:05.120Z".parse().unwrap(),
        );
        assert_eq!(
            out,
            b"{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n"
        );
    }

    #[test]
    fn lines_come_whole_and_long_ones_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&sink(dir.path(), None, 1)).unwrap().unwrap();
        log.write(Stream::Stdout, b"a");
        log.write(Stream::Stderr, b"e\n");
        log.write(Stream::Stdout, b"b\nc\n");
        let long = vec![b'x'; MAX_LINE + 5];
        log.write(Stream::Stdout, &long);
        log.write(Stream::Stdout, b"\nrest");
        log.finish();
        let s = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
        assert_eq!(
            entries(&dir.path().join("log")),
            [
                s("stderr", "e\n"),
                s("stdout", "ab\n"),
                s("stdout", "c\n"),
                s("stdout", &"x".repeat(MAX_LINE)),
                s("stdout", "xxxxx\n"),
                s("stdout", "rest"),
            ]
        );
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&sink(dir.path(), Some(150), 3)).unwrap().unwrap();
        for number in 0..20 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        let all: Vec<_> = ["log.2", "log.1", "log"]
            .iter()
            .flat_map(|name| entries(&dir.path().join(name)))
            .collect();
        assert_eq!(all.last().unwrap().1, "line 19\n");
        let first: u32 = all[0].1.trim().trim_start_matches("line ").parse().unwrap();
        assert_eq!(all.len() as u32, 20 - first);
    }

    #[test]
    fn one_large_piece_rotates_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&sink(dir.path(), Some(10_000), 2))
            .unwrap()
            .unwrap();
        let piece: String = (1..=2000).map(|number| format!("{number}\n")).collect();
        log.write(Stream::Stdout, piece.as_bytes());
        let all: Vec<_> = ["log.1", "log"]
            .iter()
            .flat_map(|name| entries(&dir.path().join(name)))
            .collect();
        assert_eq!(all.last().unwrap().1, "2000\n");
        assert!(all.len() < 400 && all.len() > 100, "{}", all.len());
        let size = std::fs::metadata(dir.path().join("log.1")).unwrap().len();
        assert!((10_000..10_100).contains(&size), "{size}");
        assert!(!dir.path().join("log.2").exists());
    }

    #[test]
    fn what_could_not_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&sink(dir.path(), None, 1)).unwrap().unwrap();
        log.write(Stream::Stdout, b"before\n");
        let good = std::mem::replace(&mut log.file, File::open(dir.path().join("log")).unwrap());
        log.write(Stream::Stdout, b"lost\nlost\n");
        log.file = good;
        log.write(Stream::Stdout, b"after\n");
        let texts: Vec<_> = entries(&dir.path().join("log"))
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(
            texts,
            [
                "before\n",
                "[dhow: 2 log entries were lost here, they could not be written]\n",
                "after\n"
            ]
        );
    }
}
