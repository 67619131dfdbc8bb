//! The host's name servers, followed as its configuration changes (resolv.conf(5)).

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::{AskedFrom, PORT, Upstream};
use crate::files;

/// What tells a file from what was there before, however it was replaced.
type Stamp = [i64; 5];

/// The servers that a resolver configuration names, as of now. They are asked from the host, also those on its loopback
/// addresses.
#[derive(Debug)]
pub struct HostServers {
    path: PathBuf,
    known: Mutex<(Option<Stamp>, Vec<Upstream>)>,
}

impl Default for HostServers {
    /// Those of `/etc/resolv.conf`.
    fn default() -> Self {
        HostServers::of("/etc/resolv.conf")
    }
}

impl HostServers {
    pub fn of(path: impl Into<PathBuf>) -> Self {
        HostServers {
            path: path.into(),
            known: Mutex::default(),
        }
    }

    /// Looks at the file, and reads it when it is another than before: microseconds. Without a file there are no servers; one
    /// that can't be read leaves them as they were.
    pub fn now(&self) -> Vec<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Of before the reading: a change after it is seen the next time.
        let read = self.stamp().and_then(|stamp| {
            if stamp == known.0 {
                return Ok(None);
            }
            let text = match stamp {
                Some(_) => fs::read(&self.path)?,
                None => Vec::new(),
            };
            Ok(Some((stamp, servers(&String::from_utf8_lossy(&text)))))
        });
        match read {
            Ok(None) => {}
            Ok(Some(read)) => *known = read,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "the host's name servers can't be read");
            }
        }
        known.1.clone()
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(&self.path) {
            Ok(file) => Ok(Some([
                file.ino() as i64,
                file.size() as i64,
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ])),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn servers(text: &str) -> Vec<Upstream> {
    let addresses = files::servers(text).into_iter().filter_map(|server| {
        let (address, zone) = match server.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (server.as_str(), None),
        };
        Some(match address.parse().ok()? {
            IpAddr::V4(address) => SocketAddr::from((address, PORT)),
            IpAddr::V6(address) => {
                let link = zone.map_or(Some(0), link_index)?;
                SocketAddrV6::new(address, PORT, 0, link).into()
            }
        })
    });
    addresses
        .map(|address| Upstream {
            address,
            from: AskedFrom::Host,
        })
        .collect()
}

/// The link that a zone names, or is the number of.
fn link_index(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    if zone.contains(['/', '.']) {
        return None;
    }
    let index = fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?;
    index.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_followed() {
        let path = std::env::temp_dir().join(format!("dhow-dns-host-{}", std::process::id()));
        let servers = HostServers::of(&path);
        let now = || {
            let addresses = servers.now().into_iter().map(|s| s.address.to_string());
            addresses.collect::<Vec<_>>()
        };
        assert!(now().is_empty());
        fs::write(
            &path,
            "# nameserver 192.0.2.9\nnameserver 127.0.0.53\nnameserver fe80::1%7\n\
             nameserver nonsense\nnameserver fe80::1%../lo\nsearch example\n",
        )
        .unwrap();
        assert_eq!(now(), ["127.0.0.53:53", "[fe80::1%7]:53"]);
        assert_eq!(now(), ["127.0.0.53:53", "[fe80::1%7]:53"]);
        // Replaced by one of the same length.
        let next = path.with_extension("next");
        fs::write(&next, "nameserver 192.0.2.1\n").unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!(now(), ["192.0.2.1:53"]);
        fs::write(&next, "nameserver 192.0.2.2\n").unwrap();
        fs::rename(&next, &path).unwrap();
        assert_eq!(now(), ["192.0.2.2:53"]);
        fs::remove_file(&path).unwrap();
        assert!(now().is_empty());
        assert_eq!(link_index("lo"), Some(1));
    }
}
