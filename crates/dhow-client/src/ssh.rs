//! Daemons behind ssh: `ssh://[user@]host[:port][/path/to/socket]`. As Docker does, the real `ssh` program is
//! run, so that its configuration, agent and jump hosts hold; on the other side a client's hidden
//! `system dial-stdio` joins the stream to the daemon's socket.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::host::HostError;

/// A machine to reach by ssh, and perhaps a socket on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    /// Where the daemon listens there; without one, its client knows.
    socket: Option<String>,
}

/// How long the other machine may take to answer, as Docker has it.
const TIMEOUT: &str = "-o ConnectTimeout=30";

impl SshHost {
    /// Reads what follows `ssh://`.
    pub(crate) fn parse(rest: &str) -> Result<SshHost, HostError> {
        let invalid = |reason: String| HostError::Ssh(reason);
        if let Some((_, query)) = rest.split_once('?') {
            return Err(invalid(format!(
                "query parameters are not allowed: {query:?}"
            )));
        }
        if let Some((_, fragment)) = rest.split_once('#') {
            return Err(invalid(format!("fragments are not allowed: {fragment:?}")));
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(invalid("plain-text password is not supported".into()));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (host, port) = match place.strip_prefix('[').and_then(|p| p.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => match place.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err(invalid("hostname is empty".into()));
        }
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().map_err(|_| {
                invalid(format!("invalid port {:?} after host", format!(":{port}")))
            })?),
        };
        let user = user.map(decoded).filter(|user| !user.is_empty());
        let host = decoded(host);
        for part in user.iter().chain([&host]) {
            // The program puts them into the commands of its configuration, which a shell reads.
            if part.contains(|c: char| {
                c.is_whitespace() || c.is_control() || "'\"`\\$;&|<>(){}*!".contains(c)
            }) {
                return Err(invalid(format!(
                    "{part:?} is no name of a user or a machine"
                )));
            }
        }
        let socket = Some(decoded(path)).filter(|path| !path.trim_matches('/').is_empty());
        Ok(SshHost {
            user,
            host,
            port,
            socket,
        })
    }

    /// The arguments of `ssh`. Which client the other machine has is not known: one that is not there, or
    /// whose daemon is not, ends before it has read anything, and the next is tried.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(user) = &self.user {
            all.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            all.extend(["-p".to_owned(), port.to_string()]);
        }
        all.extend([TIMEOUT.to_owned(), "-T".into(), "--".into()]);
        all.push(self.host.clone());
        let client = |name: &str| match &self.socket {
            Some(path) => format!(
                "{name} --host={} system dial-stdio",
                quoted(&format!("unix://{path}"))
            ),
            None => format!("{name} system dial-stdio"),
        };
        all.push(format!("{} || {}", client("dhow"), client("docker")));
        all
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.:_-+@%,=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_arguments() {
        let dial = "dhow system dial-stdio || docker system dial-stdio";
        let at = "dhow --host=unix:///run/x.sock system dial-stdio || docker --host=unix:///run/x.sock system dial-stdio";
        for (text, arguments, shown) in [
            ("box", &[TIMEOUT, "-T", "--", "box", dial][..], "ssh://box"),
            ("box/", &[TIMEOUT, "-T", "--", "box", dial], "ssh://box"),
            (
                "me@box:22/run/x.sock",
                &["-l", "me", "-p", "22", TIMEOUT, "-T", "--", "box", at],
                "ssh://me@box:22/run/x.sock",
            ),
            (
                "a%40b@[::1]:2",
                &["-l", "a@b", "-p", "2", TIMEOUT, "-T", "--", "::1", dial],
                "ssh://a@b@[::1]:2",
            ),
        ] {
            let host = SshHost::parse(text).unwrap();
            assert_eq!(host.arguments(), arguments, "{text}");
            assert_eq!(host.to_string(), shown);
        }
        let odd = SshHost::parse("h/a b'c").unwrap();
        assert!(odd.arguments()[4].starts_with(r"dhow --host='unix:///a b'\''c' system"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (text, reason) in [
            ("", "hostname is empty"),
            ("me@", "hostname is empty"),
            ("a:b@c", "plain-text password is not supported"),
            ("c?x", "query parameters are not allowed: \"x\""),
            ("c#x", "fragments are not allowed: \"x\""),
            ("c:x", "invalid port \":x\" after host"),
            ("$(id)", "\"$(id)\" is no name of a user or a machine"),
        ] {
            let expected = HostError::Ssh(reason.into());
            assert_eq!(SshHost::parse(text), Err(expected), "{text}");
        }
    }
}
