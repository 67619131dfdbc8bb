//! The container's log: its output in entries, a line each.
//!
//! Lines longer than 16 KiB are cut into entries without a newline at their end, as is output that ends
//! without one; readers put them together again.

mod compress;
mod entry;
mod files;
mod server;

use std::io;
use std::time::Instant;

use jiff::Timestamp;

use self::entry::Entry;
pub(crate) use self::entry::Stream;
use self::files::Files;
use self::server::Part;
pub(crate) use self::server::Server;
use crate::protocol::LogSink;

/// Docker's copier has a buffer of this size for each stream.
const MAX_LINE: usize = 16 * 1024;

/// A piece of short lines makes many times its size in entries; this much is written at once.
const WRITTEN: usize = 256 * 1024;

/// What has come of a line that is not complete.
#[derive(Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// All entries of one line have the time of its first.
    since: Option<Timestamp>,
    /// How many of them there are already.
    parts: u32,
}

pub(crate) struct Log {
    files: Option<Files>,
    server: Option<Server>,
    stdout: Unfinished,
    stderr: Unfinished,
}

impl Log {
    /// `None` for a container without a log.
    pub fn open(sink: &LogSink) -> io::Result<Option<Self>> {
        if sink.file.is_none() && sink.server.is_none() {
            return Ok(None);
        }
        let (stdout, stderr) = Default::default();
        Ok(Some(Self {
            files: sink.file.as_ref().map(Files::open).transpose()?,
            server: sink.server.as_ref().map(Server::new),
            stdout,
            stderr,
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
        let (files, server) = (&mut self.files, &mut self.server);
        while !bytes.is_empty() {
            let room = MAX_LINE - unfinished.bytes.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(window.len(), |at| at + 1);
            unfinished.bytes.extend_from_slice(&window[..taken]);
            bytes = &bytes[taken..];
            if newline.is_some() || unfinished.bytes.len() == MAX_LINE {
                let taken = unfinished.take(now, newline.is_some());
                give(files, server, &mut entries, stream, &taken);
                if entries.len() >= WRITTEN {
                    append(files, &entries);
                    entries.clear();
                }
                // The buffer goes on being used.
                unfinished.bytes = taken.bytes;
                unfinished.bytes.clear();
            }
        }
        // A long line's buffer is not kept by a container that wrote one once.
        if unfinished.bytes.is_empty() {
            unfinished.bytes = Vec::new();
        }
        append(files, &entries);
    }

    /// The streams have ended: what is left of unfinished lines is written as it is. Returns the server, which
    /// may still have to be sent some.
    pub fn finish(mut self) -> Option<Server> {
        let now = Timestamp::now();
        let mut entries = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = match stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            if !unfinished.bytes.is_empty() {
                let taken = unfinished.take(now, true);
                give(&self.files, &mut self.server, &mut entries, stream, &taken);
            }
        }
        append(&mut self.files, &entries);
        if let Some(server) = &mut self.server {
            server.close();
        }
        self.server
    }

    /// Takes away all that has been logged here. What is logged later is not touched by this.
    pub fn clear(&mut self) -> io::Result<()> {
        self.files.as_mut().map_or(Ok(()), Files::clear)
    }

    /// A child of the shim has ended that none of the container's processes is.
    pub fn child_ended(&mut self, pid: i32, code: i32) {
        if let Some(files) = &mut self.files {
            files.child_ended(pid, code);
        }
    }

    pub fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Whether the container is to wait for its log.
    pub fn is_full(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_full)
    }

    /// How much output may be taken in before it is asked again whether the log is full.
    pub fn room(&self) -> usize {
        self.server.as_ref().map_or(usize::MAX, Server::room)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.server.as_ref()?.deadline()
    }
}

/// An entry's text, its time, and which part of its line it is.
struct TakenLine {
    bytes: Vec<u8>,
    time: Timestamp,
    part: Option<Part>,
}

impl Unfinished {
    fn take(&mut self, now: Timestamp, last: bool) -> TakenLine {
        let time = *self.since.get_or_insert(now);
        self.parts += 1;
        let part = (self.parts > 1 || !last).then_some(Part {
            ordinal: self.parts,
            last,
            line: time,
        });
        if last {
            self.since = None;
            self.parts = 0;
        }
        TakenLine {
            bytes: std::mem::take(&mut self.bytes),
            time,
            part,
        }
    }
}

fn append(files: &mut Option<Files>, entries: &[u8]) {
    if let Some(files) = files
        && !entries.is_empty()
    {
        files.append(entries);
    }
}

fn give(
    files: &Option<Files>,
    server: &mut Option<Server>,
    entries: &mut Vec<u8>,
    stream: Stream,
    line: &TakenLine,
) {
    let entry = Entry {
        stream,
        time: line.time,
        text: &line.bytes,
    };
    if let Some(files) = files {
        files.encode(entries, &entry);
    }
    if let Some(server) = server {
        server.take(&entry, line.part);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;
    use crate::protocol::{LogFile, LogFormat};

    fn sink(dir: &Path, max_size: Option<u64>, max_file: u32) -> LogSink {
        LogSink {
            file: Some(LogFile {
                path: dir.join("log"),
                format: LogFormat::JsonFile,
                max_size,
                max_file,
                compress: false,
                attrs: String::new(),
            }),
            server: None,
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
        let good = log
            .files
            .as_mut()
            .unwrap()
            .replace_file(File::open(dir.path().join("log")).unwrap());
        log.write(Stream::Stdout, b"lost\nlost\n");
        log.files.as_mut().unwrap().replace_file(good);
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
