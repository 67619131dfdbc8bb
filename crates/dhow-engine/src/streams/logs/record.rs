//! One entry of a log, in Docker's json-file format (`{"log":"text\n","stream":"stdout","time":"RFC 3339"}`)
//! or in that of the `local` driver, for which see [`dhow_runtime::logfile`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use dhow_runtime::LogFormat;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

#[derive(Debug)]
pub struct Record<'a> {
    /// Without the newline that ends its line.
    pub text: Cow<'a, [u8]>,
    /// Whether there is one: what follows is another line.
    pub ends_line: bool,
    pub is_stderr: bool,
    time: Time<'a>,
    attrs: Attributes<'a>,
}

#[derive(Debug)]
enum Time<'a> {
    Rfc3339(Cow<'a, str>),
    Nanos(i64),
}

#[derive(Debug)]
enum Attributes<'a> {
    Read(BTreeMap<Cow<'a, str>, Cow<'a, str>>),
    Json(&'a [u8]),
}

#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    attrs: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Whether what follows is another line; also of what is no record, such as a line that a crash cut short.
pub fn ends_line(format: LogFormat, line: &[u8]) -> bool {
    match format {
        LogFormat::Local => !matches!(line.first(), Some(b'O' | b'E')),
        LogFormat::JsonFile => Record::parse(format, line).is_none_or(|record| record.ends_line),
    }
}

impl<'a> Record<'a> {
    /// Reads the bytes between two newlines of the file; `None` for what is no record.
    pub fn parse(format: LogFormat, line: &'a [u8]) -> Option<Record<'a>> {
        match format {
            LogFormat::JsonFile => Record::of_json(line),
            LogFormat::Local => Record::of_local(line),
        }
    }

    fn of_json(line: &'a [u8]) -> Option<Record<'a>> {
        if let Some(record) = Record::of_plain_json(line) {
            return Some(record);
        }
        let json: Json<'a> = serde_json::from_slice(line).ok()?;
        let ends_line = json.log.ends_with('\n');
        Some(Record {
            text: match json.log {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(mut text) => {
                    text.truncate(text.len() - usize::from(ends_line));
                    Cow::Owned(text.into_bytes())
                }
            },
            ends_line,
            is_stderr: json.stream == "stderr",
            time: Time::Rfc3339(json.time),
            attrs: Attributes::Read(json.attrs),
        })
    }

    /// An entry as it nearly always is: its fields in their order, no attributes, and of escapes those alone that are
    /// two letters. Others are left to the JSON parser.
    fn of_plain_json(line: &'a [u8]) -> Option<Record<'a>> {
        let rest = line.strip_prefix(br#"{"log":""#)?;
        let mut text = Cow::Borrowed(&rest[..0]);
        let mut from = 0;
        let (end, ends_line) = loop {
            let at = from + memchr::memchr2(b'"', b'\\', &rest[from..])?;
            let is_end = rest[at] == b'"';
            let is_last = rest[at..].starts_with(br#"\n""#);
            let piece = &rest[from..at];
            match &mut text {
                Cow::Borrowed(text) if text.is_empty() => *text = piece,
                text => text.to_mut().extend_from_slice(piece),
            }
            if is_end || is_last {
                let end = if is_last { at + 2 } else { at };
                break (end, is_last);
            }
            let plain = match rest.get(at + 1)? {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 8,
                b'f' => 12,
                plain @ (b'"' | b'\\' | b'/') => *plain,
                _ => return None,
            };
            text.to_mut().push(plain);
            from = at + 2;
        };
        let rest = rest[end + 1..].strip_prefix(br#","stream":"std"#)?;
        let (is_stderr, rest) = match (rest.strip_prefix(b"out"), rest.strip_prefix(b"err")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return None,
        };
        let time = rest
            .strip_prefix(br#"","time":""#)?
            .strip_suffix(br#""}"#)?;
        let is_time = |byte: &u8| byte.is_ascii_digit() || b"-:.TZ+".contains(byte);
        if !time.iter().all(is_time) {
            return None;
        }
        Some(Record {
            text,
            ends_line,
            is_stderr,
            time: Time::Rfc3339(Cow::Borrowed(std::str::from_utf8(time).ok()?)),
            attrs: Attributes::Read(BTreeMap::new()),
        })
    }

    fn of_local(line: &'a [u8]) -> Option<Record<'a>> {
        let [letter @ (b'o' | b'e' | b'O' | b'E'), mark, rest @ ..] = line else {
            return None;
        };
        let at = |bytes: &'a [u8], end: u8| {
            let at = bytes.iter().position(|byte| *byte == end)?;
            Some((&bytes[..at], &bytes[at + 1..]))
        };
        let (time, mut text) = at(rest, b' ')?;
        let mut attrs = &b""[..];
        match mark {
            b' ' => {}
            b'@' => (attrs, text) = at(text, b'\t')?,
            _ => return None,
        }
        Some(Record {
            text: Cow::Borrowed(text),
            ends_line: matches!(letter, b'o' | b'e'),
            is_stderr: matches!(letter, b'e' | b'E'),
            time: Time::Nanos(std::str::from_utf8(time).ok()?.parse().ok()?),
            attrs: Attributes::Json(attrs),
        })
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(&self) -> Option<i64> {
        match &self.time {
            Time::Nanos(nanos) => Some(*nanos),
            Time::Rfc3339(text) => {
                let time: Timestamp = text.parse().ok()?;
                i64::try_from(time.as_nanosecond()).ok()
            }
        }
    }

    /// Docker prints all nine digits, so that columns line up.
    pub fn timestamp(&self) -> String {
        let time = match &self.time {
            Time::Nanos(nanos) => Timestamp::from_nanosecond(i128::from(*nanos)).ok(),
            Time::Rfc3339(text) => text.parse().ok(),
        };
        match (time, &self.time) {
            (Some(time), _) => format!("{time:.9}"),
            (None, Time::Rfc3339(text)) => text.clone().into_owned(),
            (None, Time::Nanos(nanos)) => nanos.to_string(),
        }
    }

    /// The attributes as `logs --details` shows them: `name=value`, escaped as in a query, with commas between.
    pub fn details(&self) -> String {
        const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~')
            .remove(b' ');
        let escaped = |text: &str| {
            utf8_percent_encode(text, ESCAPED)
                .to_string()
                .replace(' ', "+")
        };
        let read;
        let attrs = match &self.attrs {
            Attributes::Read(attrs) => attrs,
            Attributes::Json(b"") => return String::new(),
            Attributes::Json(json) => {
                read = serde_json::from_slice(json).unwrap_or_default();
                &read
            }
        };
        let pairs: Vec<String> = attrs
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        pairs.join(",")
    }
}

/// A piece of output as attach and logs send it when there is no terminal, behind what there is: an eight-byte
/// header, then the bytes (Engine API, "Stream format").
pub fn put_frame(stderr: bool, parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    out.reserve(8 + len);
    out.extend_from_slice(&[if stderr { 2 } else { 1 }, 0, 0, 0]);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_escapes() {
        let record = Record::parse(
            LogFormat::JsonFile,
            br#"{"log":"a\tb\u003c\n","stream":"stderr","attrs":{"l 1":"a&b~","a":"*"},"time":"2026-11-25T01:02:03.000000005Z"}"#,
        )
        .unwrap();
        assert_eq!(&record.text[..], b"a\tb<");
        assert!(record.is_stderr && record.ends_line);
        assert_eq!(record.nanos().unwrap() % 1_000_000_000, 5);
        assert_eq!(record.timestamp(), "2026-11-25T01:02:03.000000005Z");
        assert_eq!(record.details(), "a=%2A,l+1=a%26b~");
        assert!(Record::parse(LogFormat::JsonFile, b"{\"log\":\"cut").is_none());
    }

    #[test]
    fn plain_records_are_what_the_json_parser_makes_of_them() {
        let time = r#""time":"2026-11-25T01:02:03.000000005Z"}"#;
        for (log, stream) in [
            ("", "stdout"),
            (r"\n", "stderr"),
            ("a line", "stdout"),
            (r"a line\n", "stdout"),
            (r#"\ta \"quoted\" \\ line\r\n"#, "stderr"),
            (r"two\nlines\n", "stdout"),
            (r"\\n", "stdout"),
            ("\u{e9}\u{20ac}\\n", "stdout"),
        ] {
            let line = format!(r#"{{"log":"{log}","stream":"{stream}",{time}"#);
            let plain = Record::of_plain_json(line.as_bytes()).unwrap();
            let json: Json<'_> = serde_json::from_str(&line).unwrap();
            let mut whole = plain.text.to_vec();
            whole.extend(plain.ends_line.then_some(b'\n'));
            assert_eq!(whole, json.log.as_bytes(), "{line}");
            assert_eq!(plain.is_stderr, json.stream == "stderr");
            assert_eq!(plain.timestamp(), "2026-11-25T01:02:03.000000005Z");
        }
        for other in [
            r#"{"log":"\u003c","stream":"stdout","time":"2026-11-25T01:02:03Z"}"#,
            r#"{"log":"a","stream":"stdout","attrs":{"a":"b"},"time":"2026-11-25T01:02:03Z"}"#,
            r#"{"log":"a","stream":"stdout","time":"2026-11-25T01:02:03Z"#,
            r#"{"log":"a\"#,
            r#"{"log":"a"#,
        ] {
            assert!(Record::of_plain_json(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_record_of_the_local_driver() {
        let local = LogFormat::Local;
        let record = Record::parse(local, b"o 1767323045120000000 a\tb \xff").unwrap();
        assert_eq!(&record.text[..], b"a\tb \xff");
        assert!(!record.is_stderr && record.ends_line && ends_line(local, b"o 1 x"));
        assert_eq!(record.timestamp(), "2026-01-02T03:04:05.120000000Z");
        assert_eq!(record.details(), "");
        let record = Record::parse(local, b"E@7 {\"tag\":\"x y\"}\t").unwrap();
        assert_eq!(&record.text[..], b"");
        assert!(record.is_stderr && !ends_line(local, b"E@7 {}\tx"));
        assert_eq!(record.details(), "tag=x+y");
        for bad in [
            &b""[..],
            b"o",
            b"x 1 a",
            b"o1 a",
            b"o  a",
            b"o@1 {}",
            b"o 99999999999999999999 a",
        ] {
            assert!(Record::parse(local, bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_frame_has_its_stream_and_length() {
        let mut out = Vec::new();
        put_frame(true, &[b"t ", b"x\n"], &mut out);
        assert_eq!(out, b"\x02\0\0\0\0\0\0\x04t x\n");
    }
}
