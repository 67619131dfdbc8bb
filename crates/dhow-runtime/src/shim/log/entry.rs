//! One entry of the log, as it is written to a file: in Docker's json-file format, a JSON object a line, or in
//! that of the `local` driver.
//!
//! Escapes of JSON are those of Go's encoder as Docker's own writer has them, byte for byte, which no JSON
//! library here writes: others escape a tab shorter, and leave `<`, `>`, `&`, U+2028 and U+2029.

use std::io::Write;

use jiff::Timestamp;

use crate::protocol::LogFormat;

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

/// A line of output, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub stream: Stream,
    pub time: Timestamp,
    /// With the newline, unless more of the line follows, or it ended without one.
    pub text: &'a [u8],
}

/// Appends an entry to what is to be written.
pub(super) fn encode(out: &mut Vec<u8>, format: LogFormat, attrs: &str, entry: &Entry<'_>) {
    match format {
        LogFormat::JsonFile => json(out, attrs, entry),
        LogFormat::Local => local(out, attrs, entry),
    }
}

fn json(out: &mut Vec<u8>, attrs: &str, entry: &Entry<'_>) {
    out.extend_from_slice(b"{\"log\":");
    string(out, entry.text);
    let (stream, time) = (entry.stream.name(), entry.time);
    let (key, attrs) = match attrs {
        "" => ("", ""),
        attrs => (",\"attrs\":", attrs),
    };
    // Writing to a vector does not fail.
    let _ = writeln!(
        out,
        ",\"stream\":\"{stream}\"{key}{attrs},\"time\":\"{time}\"}}"
    );
}

/// See [`crate::logfile`].
fn local(out: &mut Vec<u8>, attrs: &str, entry: &Entry<'_>) {
    let whole = entry.text.strip_suffix(b"\n");
    let letter = match (entry.stream, whole) {
        (Stream::Stdout, Some(_)) => 'o',
        (Stream::Stdout, None) => 'O',
        (Stream::Stderr, Some(_)) => 'e',
        (Stream::Stderr, None) => 'E',
    };
    let time = entry.time.as_nanosecond();
    // As above.
    let _ = match attrs {
        "" => write!(out, "{letter} {time} "),
        attrs => write!(out, "{letter}@{time} {attrs}\t"),
    };
    out.extend_from_slice(whole.unwrap_or(entry.text));
    out.push(b'\n');
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
        let text = |attrs: &str, format, text: &[u8]| {
            let mut out = Vec::new();
            let entry = Entry {
                stream: Stream::Stdout,
                time: "2026-01-02T03:04:05.120Z".parse().unwrap(),
                text,
            };
            encode(&mut out, format, attrs, &entry);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text("", LogFormat::JsonFile, b"hi\n"),
            "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.12Z\"}\n"
        );
        assert_eq!(
            text("{\"tag\":\"x\"}", LogFormat::JsonFile, b"hi"),
            "{\"log\":\"hi\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"x\"},\"time\":\"2026-01-02T03:04:05.12Z\"}\n"
        );
        assert_eq!(
            text("", LogFormat::Local, b"hi \x01\n"),
            "o 1767323045120000000 hi \x01\n"
        );
        assert_eq!(
            text("{\"tag\":\"x\"}", LogFormat::Local, b"hi"),
            "O@1767323045120000000 {\"tag\":\"x\"}\thi\n"
        );
    }
}
