//! From a host's name to its addresses: `/etc/hosts`, then the DNS. A static binary has no getaddrinfo
//! to ask.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;

/// Files whose change makes a new resolver: a laptop's network comes and goes.
const WATCHED: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

type Stamp = [Option<SystemTime>; 2];

/// Asks for addresses, and keeps who answers until the machine's configuration changes.
#[derive(Default)]
pub struct Names {
    resolver: Mutex<Option<(Stamp, Arc<TokioResolver>)>>,
}

impl Names {
    pub async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        if host == "localhost" {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let answer = self
            .resolver()?
            .lookup_ip(host)
            .await
            .map_err(|e| io::Error::other(format!("dial tcp: lookup {host}: {e}")))?;
        let addresses: Vec<_> = answer.iter().collect();
        if addresses.is_empty() {
            return Err(io::Error::other(format!(
                "dial tcp: lookup {host}: no such host"
            )));
        }
        Ok(addresses)
    }

    fn resolver(&self) -> io::Result<Arc<TokioResolver>> {
        let stamp = WATCHED.map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok());
        let mut cached = self.resolver.lock().unwrap_or_else(|e| e.into_inner());
        if let Some((made_at, resolver)) = &*cached
            && *made_at == stamp
        {
            return Ok(resolver.clone());
        }
        let make = || {
            let mut builder = TokioResolver::builder_tokio()?;
            builder.options_mut().use_hosts_file = ResolveHosts::Always;
            builder.build()
        };
        let resolver = Arc::new(make().map_err(io::Error::other)?);
        *cached = Some((stamp, resolver.clone()));
        Ok(resolver)
    }
}
