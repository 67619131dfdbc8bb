//! Entries of the systemd journal, in its native protocol: a datagram of fields (systemd's documentation,
//! "Native Journal Protocol"). The fields are those of Docker's driver.

use crate::shim::log::entry::{Entry, Stream};

use super::Part;

/// What an entry has of its own.
pub(super) struct Own<'a> {
    pub epoch: &'a str,
    pub ordinal: u64,
    pub part: Option<Part>,
}

/// What an entry takes beyond its text, or little less than that.
pub(super) fn overhead(fields: &[(String, String)]) -> usize {
    let own = 256;
    let fields = fields.iter();
    own + fields
        .map(|(name, value)| name.len() + value.len() + 10)
        .sum::<usize>()
}

pub(super) fn message(
    fields: &[(String, String)],
    own: Own<'_>,
    entry: &Entry<'_>,
    text: &[u8],
) -> Vec<u8> {
    let of_part = own.part.map_or(0, |_| 200);
    let mut out = Vec::with_capacity(text.len() + overhead(fields) + of_part);
    field(&mut out, "MESSAGE", text);
    let priority = match entry.stream {
        Stream::Stdout => b"6",
        Stream::Stderr => b"3",
    };
    field(&mut out, "PRIORITY", priority);
    for (name, value) in fields {
        field(&mut out, name, value.as_bytes());
    }
    let mut add = |name: &str, value: String| field(&mut out, name, value.as_bytes());
    add("SYSLOG_TIMESTAMP", entry.time.to_string());
    add("CONTAINER_LOG_EPOCH", own.epoch.to_owned());
    add("CONTAINER_LOG_ORDINAL", own.ordinal.to_string());
    if let Some(part) = own.part {
        let line = format!("{}{:x}", own.epoch, part.line.as_nanosecond());
        add("CONTAINER_PARTIAL_ID", line);
        add("CONTAINER_PARTIAL_ORDINAL", part.ordinal.to_string());
        add("CONTAINER_PARTIAL_LAST", part.last.to_string());
        if !part.last {
            add("CONTAINER_PARTIAL_MESSAGE", "true".to_owned());
        }
    }
    out
}

/// A value in which there is a newline has its length before it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fields() {
        let time = "2026-01-02T03:04:05.120Z".parse().unwrap();
        let entry = Entry {
            stream: Stream::Stderr,
            time,
            text: b"hi",
        };
        let own = Own {
            epoch: "e",
            ordinal: 7,
            part: Some(Part {
                ordinal: 2,
                last: false,
                line: time,
            }),
        };
        let fields = [("CONTAINER_TAG".to_owned(), "a\nb".to_owned())];
        let out = message(&fields, own, &entry, b"hi");
        let expected = b"MESSAGE=hi\nPRIORITY=3\nCONTAINER_TAG\n\x03\0\0\0\0\0\0\0a\nb\n\
            SYSLOG_TIMESTAMP=2026-01-02T03:04:05.12Z\nCONTAINER_LOG_EPOCH=e\nCONTAINER_LOG_ORDINAL=7\n";
        assert!(
            out.starts_with(expected),
            "{}",
            String::from_utf8_lossy(&out)
        );
        let rest = String::from_utf8_lossy(&out[expected.len()..]).into_owned();
        assert!(rest.ends_with(
            "CONTAINER_PARTIAL_ORDINAL=2\nCONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n"
        ));
    }
}
