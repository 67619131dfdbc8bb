//! Drivers that send entries to a server: `syslog` and `journald`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhow_distribution::Names;
use dhow_runtime::Shim;
use dhow_runtime::protocol::{
    Host, LogAddress, LogDialect, LogServer, LogSink, SyslogFormat, TlsFiles,
};

use super::attributes::{self, Subject};
use super::options::Options;
use crate::containers::Containers;
use crate::containers::container::Container;
use crate::error::{EngineError, Result};

/// The options of `syslog` beside those of every driver that sends.
pub const SYSLOG: &[&str] = &[
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
/// Beyond Docker: a journal of a namespace, systemd-journald@.service(8), has a socket of its own.
pub const JOURNALD: &[&str] = &["journald-socket"];

/// systemd-journald's socket.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog(3) and others of its kind look.
const SYSLOG_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
const SYSLOG_PORT: u16 = 514;
/// Entries that wait for a server, in bytes: the ring of Docker's.
const BUFFER: u64 = 1 << 20;
/// How long a start waits for the meaning of a server's name.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

/// In the order of their numbers (RFC 5424, section 6.2.1); some numbers have no name.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// Where entries are sent to, in which form, and what is kept of them here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    kind: Kind,
    address: LogAddress,
    buffer: u64,
    patient: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Syslog { format: SyslogFormat, facility: u8 },
    Journald,
}

impl ServerSettings {
    /// By the options of the `syslog` driver. Refuses addresses, facilities and formats that are none.
    pub fn syslog(options: &Options<'_>) -> Result<ServerSettings> {
        let address = address(options)?;
        let facility = facility(options.get("syslog-facility").unwrap_or_default())?;
        let format = match options.get("syslog-format").unwrap_or_default() {
            "" => SyslogFormat::Local,
            "rfc3164" => SyslogFormat::Rfc3164,
            "rfc5424" => SyslogFormat::Rfc5424,
            "rfc5424micro" => SyslogFormat::Rfc5424Micro,
            _ => return Err(EngineError::invalid("Invalid syslog format")),
        };
        ServerSettings::new(Kind::Syslog { format, facility }, address, options)
    }

    /// By the options of the `journald` driver.
    pub fn journald(options: &Options<'_>) -> Result<ServerSettings> {
        let path = options.get("journald-socket").unwrap_or(JOURNAL);
        if !path.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "invalid value for journald-socket: {path}: it must be an absolute path"
            )));
        }
        ServerSettings::new(Kind::Journald, LogAddress::Datagrams(path.into()), options)
    }

    fn new(kind: Kind, address: LogAddress, options: &Options<'_>) -> Result<ServerSettings> {
        Ok(ServerSettings {
            kind,
            address,
            buffer: options.buffer()?.unwrap_or(BUFFER),
            patient: options.get("mode") != Some("non-blocking"),
        })
    }

    /// Refuses what is not on this machine, at creation; later on it may be away.
    pub fn check_there(&self) -> Result<()> {
        let is_there = |path: &Path| match path.metadata() {
            Ok(_) => Ok(()),
            Err(_) => Err(EngineError::invalid(format!(
                "stat {}: no such file or directory",
                path.display()
            ))),
        };
        match (&self.kind, &self.address) {
            (Kind::Journald, LogAddress::Datagrams(path)) => {
                let socket = path
                    .metadata()
                    .is_ok_and(|found| found.file_type().is_socket());
                socket.then_some(()).ok_or_else(|| {
                    EngineError::invalid(format!(
                        "journald is not enabled on this host: there is no socket {}",
                        path.display()
                    ))
                })
            }
            (_, LogAddress::Here(paths)) if !paths.iter().any(|path| path.exists()) => {
                Err(EngineError::invalid(format!(
                    "Unix syslog delivery error: this host has no {}; name a server with syslog-address",
                    SYSLOG_SOCKETS.join(", ")
                )))
            }
            (_, LogAddress::Datagrams(path) | LogAddress::Stream(path)) => is_there(path),
            (_, LogAddress::Tls { files, .. }) => {
                let pair = files.certificate.iter().flat_map(|(cert, key)| [cert, key]);
                files
                    .ca
                    .iter()
                    .chain(pair)
                    .try_for_each(|path| is_there(path))
            }
            _ => Ok(()),
        }
    }

    /// What a shim is to do.
    pub fn server(&self, options: &Options<'_>, subject: &Subject) -> Result<LogServer> {
        let tag = attributes::tag(options, subject)?;
        let dialect = match self.kind {
            Kind::Syslog { format, facility } => LogDialect::Syslog {
                format,
                facility,
                counted: matches!(self.address, LogAddress::Tls { .. })
                    && matches!(format, SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro),
                tag,
            },
            Kind::Journald => {
                let mut fields = subject.journal_fields();
                fields.push(("CONTAINER_TAG".to_owned(), tag.clone()));
                fields.push(("SYSLOG_IDENTIFIER".to_owned(), tag));
                for (name, value) in attributes::chosen(options, subject)? {
                    let name = field_name(&name);
                    // One of the container's does not take the place of another.
                    if !name.is_empty() && !fields.iter().any(|(taken, _)| *taken == name) {
                        fields.push((name, value));
                    }
                }
                LogDialect::Journald { fields }
            }
        };
        Ok(LogServer {
            dialect,
            address: self.address.clone(),
            buffer: self.buffer,
            patient: self.patient,
        })
    }
}

/// Finds the addresses of a server that is given by name. One that is not known is away until it is: that is said in
/// the daemon's log, and the container runs.
pub async fn look_up(container: &str, sink: &mut LogSink) {
    let server = sink.server.as_mut();
    let Some(host) = server.and_then(|server| server.address.host_mut()) else {
        return;
    };
    match addresses(host).await {
        Ok(found) => host.addresses = found,
        Err(reason) => tracing::warn!(
            container,
            server = host.name,
            reason,
            "the log server's name is not known: what the container says is kept here only"
        ),
    }
}

/// What its name means now.
async fn addresses(host: &Host) -> std::result::Result<Vec<SocketAddr>, String> {
    let names = Names::default();
    match tokio::time::timeout(LOOKUP_PATIENCE, names.lookup(&host.name)).await {
        Ok(Ok(found)) => Ok(found
            .into_iter()
            .map(|ip| SocketAddr::new(ip, host.port))
            .collect()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

impl Containers {
    /// Tells a shim that has lost its log's server where that is now.
    pub async fn look_up_log_server(&self, container: &Container, shim: &Shim) {
        let definition = container.definition();
        let settings = super::LogSettings::read(&definition.host_config.log_config);
        let server = settings.ok().and_then(|settings| settings.server);
        let Some(host) = server.and_then(|mut server| server.address.host_mut().cloned()) else {
            return;
        };
        let told = match addresses(&host).await {
            Ok(found) => shim.set_log_addresses(found).await,
            Err(reason) => {
                tracing::debug!(container = %container.id, server = host.name, reason, "the log server's name is not known");
                return;
            }
        };
        if let Err(e) = told {
            tracing::debug!(container = %container.id, error = %e, "its shim can't be told where its log's server is");
        }
    }
}

/// As the journal takes it: capital letters, digits and underscores, of which none comes first.
fn field_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' => c.to_ascii_uppercase(),
            'A'..='Z' | '0'..='9' => c,
            _ => '_',
        })
        .collect();
    name.trim_start_matches('_').to_owned()
}

fn facility(text: &str) -> Result<u8> {
    let number = match text {
        "" => FACILITIES.iter().position(|name| *name == "daemon"),
        text => FACILITIES
            .iter()
            .position(|name| *name == text)
            .or_else(|| text.parse().ok().filter(|n| *n < FACILITIES.len())),
    };
    match number {
        Some(number) => Ok((number as u8) << 3),
        None => Err(EngineError::invalid("invalid syslog facility")),
    }
}

fn address(options: &Options<'_>) -> Result<LogAddress> {
    let text = options.get("syslog-address").unwrap_or_default();
    if text.is_empty() {
        return Ok(LogAddress::Here(SYSLOG_SOCKETS.map(PathBuf::from).into()));
    }
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) => (scheme, rest.strip_prefix("//").unwrap_or(rest)),
        None => ("", text),
    };
    Ok(match scheme {
        "unix" => LogAddress::Stream(rest.into()),
        "unixgram" => LogAddress::Datagrams(rest.into()),
        "udp" => LogAddress::Udp(host(rest)?),
        "tcp" => LogAddress::Tcp(host(rest)?),
        "tcp+tls" => LogAddress::Tls {
            host: host(rest)?,
            files: tls_files(options)?,
        },
        other => {
            return Err(EngineError::invalid(format!(
                "unsupported scheme: '{other}'"
            )));
        }
    })
}

fn host(text: &str) -> Result<Host> {
    let invalid = || EngineError::invalid(format!("invalid syslog-address: {text:?}"));
    let text = text.split('/').next().unwrap_or_default();
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or_else(invalid)?;
            name.parse::<Ipv6Addr>().map_err(|_| invalid())?;
            (name, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => SYSLOG_PORT,
        Some(port) => port.parse().map_err(|_| invalid())?,
    };
    // As in Go, no name is this machine.
    let name = if name.is_empty() { "localhost" } else { name };
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid());
    }
    let addresses = name
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, port))
        .into_iter()
        .collect();
    Ok(Host {
        name: name.to_owned(),
        port,
        addresses,
    })
}

fn tls_files(options: &Options<'_>) -> Result<TlsFiles> {
    let path = |name: &str| {
        let given = options.get(name).filter(|path| !path.is_empty());
        given.map(PathBuf::from)
    };
    let certificate = match (path("syslog-tls-cert"), path("syslog-tls-key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(EngineError::invalid(
                "syslog-tls-cert and syslog-tls-key need each other",
            ));
        }
    };
    Ok(TlsFiles {
        ca: path("syslog-tls-ca-cert"),
        certificate,
        // In Docker as well, whatever its value.
        unverified: options.get("syslog-tls-skip-verify").is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| {
            let all = [("syslog-address".to_owned(), text.to_owned())].into();
            address(&Options::new(&all)).map_err(|e| e.to_string())
        };
        let named = |name: &str, port| Host {
            name: name.to_owned(),
            port,
            addresses: Vec::new(),
        };
        assert_eq!(read("udp://logs:1"), Ok(LogAddress::Udp(named("logs", 1))));
        assert_eq!(read("tcp://logs"), Ok(LogAddress::Tcp(named("logs", 514))));
        assert_eq!(
            read("unixgram:///dev/log"),
            Ok(LogAddress::Datagrams("/dev/log".into()))
        );
        assert_eq!(read("unix:///x"), Ok(LogAddress::Stream("/x".into())));
        let v6 = "[::1]:7".parse::<SocketAddr>().unwrap();
        let known = Host {
            addresses: vec![v6],
            ..named("::1", 7)
        };
        assert_eq!(read("tcp://[::1]:7"), Ok(LogAddress::Tcp(known)));
        assert!(matches!(read(""), Ok(LogAddress::Here(_))));
        for (text, error) in [
            ("logs:514", "unsupported scheme: 'logs'"),
            ("/dev/log", "unsupported scheme: ''"),
            ("http://logs", "unsupported scheme: 'http'"),
            ("tcp://logs:x", "invalid syslog-address: \"logs:x\""),
            ("tcp://[::x]:1", "invalid syslog-address: \"[::x]:1\""),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn facilities_and_names_of_fields() {
        for (text, number) in [
            ("", 24),
            ("kern", 0),
            ("local7", 184),
            ("5", 40),
            ("23", 184),
        ] {
            assert_eq!(facility(text).unwrap(), number, "{text}");
        }
        for text in ["24", "-1", "nobody"] {
            assert!(facility(text).is_err(), "{text}");
        }
        assert_eq!(field_name("__com.example/Key1"), "COM_EXAMPLE_KEY1");
    }
}
