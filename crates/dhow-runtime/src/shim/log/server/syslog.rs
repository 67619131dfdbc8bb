//! Messages of syslog: RFC 3164, with and without the host's name, and RFC 5424, as Docker's driver words them.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::protocol::SyslogFormat;
use crate::shim::log::entry::{Entry, Stream};

/// RFC 5424, section 6.2.1.
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;

/// What the messages of one container have in common.
pub(super) struct Syslog {
    format: SyslogFormat,
    facility: u8,
    tag: String,
    counted: bool,
    host: String,
    zone: TimeZone,
    /// The last time as it was written: what is read at once has one time.
    time: (Timestamp, String),
}

impl Syslog {
    pub fn new(format: SyslogFormat, facility: u8, tag: &str, counted: bool) -> Self {
        let uname = rustix::system::uname();
        Self {
            format,
            facility,
            tag: tag.to_owned(),
            counted,
            host: uname.nodename().to_string_lossy().into_owned(),
            zone: TimeZone::system(),
            time: (Timestamp::MIN, String::new()),
        }
    }

    pub fn message(&mut self, entry: &Entry<'_>, text: &[u8]) -> Vec<u8> {
        let severity = match entry.stream {
            Stream::Stdout => INFORMATIONAL,
            Stream::Stderr => ERROR,
        };
        let priority = self.facility | severity;
        if self.time.0 != entry.time {
            self.time = (entry.time, self.written(entry.time));
        }
        let Syslog {
            time: (_, time),
            host,
            tag,
            ..
        } = self;
        let pid = std::process::id();
        let head = match self.format {
            SyslogFormat::Local => format!("<{priority}>{time} {tag}[{pid}]: "),
            SyslogFormat::Rfc3164 => format!("<{priority}>{time} {host} {tag}[{pid}]: "),
            SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        };
        let mut message = Vec::with_capacity(head.len() + text.len() + 8);
        if self.counted {
            // Writing to a vector does not fail.
            let _ = write!(message, "{} ", head.len() + text.len() + 1);
        }
        message.extend_from_slice(head.as_bytes());
        message.extend_from_slice(text);
        message.push(b'\n');
        message
    }

    fn written(&self, time: Timestamp) -> String {
        let time = time.to_zoned(self.zone.clone());
        let mut written = match self.format {
            SyslogFormat::Local | SyslogFormat::Rfc3164 => {
                return time.strftime("%b %e %H:%M:%S").to_string();
            }
            SyslogFormat::Rfc5424 => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            SyslogFormat::Rfc5424Micro => time.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        };
        match time.offset().seconds() {
            0 => written.push('Z'),
            _ => written.push_str(&time.strftime("%:z").to_string()),
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_dockers() {
        let entry = Entry {
            stream: Stream::Stderr,
            time: "2026-01-02T03:04:05.120Z".parse().unwrap(),
            text: b"hi\n",
        };
        let text = |format, counted| {
            let mut syslog = Syslog::new(format, 3 << 3, "web", counted);
            String::from_utf8(syslog.message(&entry, b"hi")).unwrap()
        };
        let pid = std::process::id();
        let local = text(SyslogFormat::Local, false);
        assert!(
            local.starts_with("<27>Jan  2 ") && local.ends_with(&format!(" web[{pid}]: hi\n")),
            "{local}"
        );
        let named = text(SyslogFormat::Rfc3164, false);
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        assert!(
            named.ends_with(&format!(" {host} web[{pid}]: hi\n")),
            "{named}"
        );
        let new = text(SyslogFormat::Rfc5424, false);
        assert!(
            new.starts_with("<27>1 2026-01-0")
                && new.ends_with(&format!(" {host} web {pid} web - hi\n")),
            "{new}"
        );
        let micro = text(SyslogFormat::Rfc5424Micro, true);
        let (length, rest) = micro.split_once(' ').unwrap();
        assert_eq!(length, rest.len().to_string());
        assert!(rest.contains(":05.120000"), "{rest}");
    }
}
