//! One line of Docker's json-file log format: `{"log":"text\n","stream":"stdout","time":"RFC 3339"}`.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    #[serde(borrow, default)]
    pub stream: Cow<'a, str>,
    #[serde(borrow)]
    pub time: Cow<'a, str>,
}

impl<'a> Record<'a> {
    /// `None` for what is no record, such as a line that a crash cut short.
    pub fn parse(line: &'a [u8]) -> Option<Record<'a>> {
        serde_json::from_slice(line).ok()
    }

    pub fn is_stderr(&self) -> bool {
        self.stream == "stderr"
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(&self) -> Option<i64> {
        let time: jiff::Timestamp = self.time.parse().ok()?;
        i64::try_from(time.as_nanosecond()).ok()
    }
}

/// A piece of output as attach and logs send it when there is no terminal: an eight-byte header, then the
/// bytes (Engine API, "Stream format").
pub fn frame(stderr: bool, parts: &[&[u8]]) -> Bytes {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = BytesMut::with_capacity(8 + len);
    out.put_slice(&[if stderr { 2 } else { 1 }, 0, 0, 0]);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_escapes() {
        let record = Record::parse(
            br#"{"log":"a\tb\u003c\n","stream":"stderr","time":"2026-11-25T01:02:03.000000005Z"}"#,
        )
        .unwrap();
        assert_eq!(record.log, "a\tb<\n");
        assert!(record.is_stderr());
        assert_eq!(record.nanos().unwrap() % 1_000_000_000, 5);
        assert!(Record::parse(b"{\"log\":\"cut").is_none());
    }

    #[test]
    fn a_frame_has_its_stream_and_length() {
        assert_eq!(
            &frame(true, &[b"t ", b"x\n"])[..],
            b"\x02\0\0\0\0\0\0\x04t x\n"
        );
    }
}
