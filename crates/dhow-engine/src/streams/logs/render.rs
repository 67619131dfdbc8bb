//! From a log's records to what the client asked for: those of its streams and times, framed where there is no
//! terminal. What one piece of a file makes is one piece of the answer, however many records it has.

use bytes::Bytes;
use dhow_runtime::LogFormat;

use super::LogOptions;
use super::record::{Record, put_frame};

/// A record without an end within this is no record.
pub const MAX_RECORD: usize = 4 << 20;

pub struct Render {
    format: LogFormat,
    options: LogOptions,
    tty: bool,
    /// The beginning of a record whose end has not been read yet.
    rest: Vec<u8>,
    /// The record in `rest` is too long and is being skipped.
    dropped: bool,
    /// Whether the stream's last record had no line end: what follows is the same line.
    line_open: [bool; 2],
    /// A record past `until` was seen.
    done: bool,
}

impl Render {
    pub fn new(format: LogFormat, options: LogOptions, tty: bool) -> Render {
        Render {
            format,
            options,
            tty,
            rest: Vec::new(),
            dropped: false,
            line_open: [false; 2],
            done: false,
        }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What a file ends with, and is no whole record, is none.
    pub fn file_ends(&mut self) {
        self.rest.clear();
    }

    /// What the next bytes of the file come to.
    pub fn feed(&mut self, chunk: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(chunk.len());
        let mut bytes = chunk;
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            if self.dropped {
                self.dropped = false;
            } else if self.rest.is_empty() {
                self.record(line, &mut out);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.record(&whole, &mut out);
            }
            bytes = after;
        }
        if self.rest.len() + bytes.len() > MAX_RECORD {
            self.dropped = true;
            self.rest.clear();
        } else if !self.dropped {
            self.rest.extend_from_slice(bytes);
        }
        out.into()
    }

    fn record(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(record) = Record::parse(self.format, line) else {
            return;
        };
        let stderr = record.is_stderr;
        let wanted = match stderr {
            true => self.options.stderr,
            false => self.options.stdout,
        };
        if self.done || !wanted {
            return;
        }
        if self.options.since.is_some() || self.options.until.is_some() {
            let Some(nanos) = record.nanos() else {
                return;
            };
            if self.options.since.is_some_and(|since| nanos < since) {
                return;
            }
            if self.options.until.is_some_and(|until| nanos > until) {
                self.done = true;
                return;
            }
        }
        let open = &mut self.line_open[usize::from(stderr)];
        let mut prefix = String::new();
        if !*open {
            if self.options.timestamps {
                prefix.push_str(&record.timestamp());
                prefix.push(' ');
            }
            if self.options.details {
                prefix.push_str(&record.details());
                prefix.push(' ');
            }
        }
        *open = !record.ends_line;
        let end: &[u8] = if record.ends_line { b"\n" } else { b"" };
        let parts: [&[u8]; 3] = [prefix.as_bytes(), &record.text, end];
        if self.tty {
            for part in parts {
                out.extend_from_slice(part);
            }
        } else {
            put_frame(stderr, &parts, out);
        }
    }
}
