//! The name servers of containers on networks that clients have made, and on the default one if that is asked for.
//!
//! Such a container finds the others there by name, at 127.0.0.11. The sockets are held by its shim as well: what is asked
//! while no daemon runs waits in them, and the next daemon answers it.

use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard};

use dhow_net::dns::{
    AskedFrom, Forwarding, HostServers, Names, Server, Sockets, Upstream, Upstreams,
};

use super::{BRIDGE, EndpointRecord, Networks, Wishes, lan};
use crate::error::{EngineError, Result};
use crate::id::ContainerId;

/// Those that are served, by the container.
#[derive(Default)]
pub(super) struct NameServers {
    servers: Mutex<HashMap<ContainerId, Server>>,
    forwarding: Forwarding,
    of_host: Arc<HostServers>,
}

impl NameServers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Server>> {
        self.servers.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// What one container is answered.
struct SandboxNames {
    networks: Networks,
    container: ContainerId,
}

impl Names for SandboxNames {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let members = &self.networks.inner.members;
        let on = members.networks_of(&self.container);
        // The first network that knows the name decides: nobody on another can take a part of what is meant for it.
        let found = on
            .iter()
            .find_map(|key| members.addresses(key, &self.container, name));
        if found.is_some() {
            return found;
        }
        // Also as `name.network`.
        on.iter().find_map(|key| {
            let (network, _) = self.networks.name_and_driver(key)?;
            let name = name
                .strip_suffix(&network.to_lowercase())?
                .strip_suffix('.')?;
            members.addresses(key, &self.container, name)
        })
    }

    fn names(&self, address: IpAddr) -> Option<Vec<String>> {
        let members = &self.networks.inner.members;
        let on = members.networks_of(&self.container);
        on.iter().find_map(|key| {
            let name = members.name_of(key, address)?;
            let (network, _) = self.networks.name_and_driver(key)?;
            Some(vec![format!("{name}.{network}")])
        })
    }

    fn may_forward(&self) -> bool {
        let on = self.networks.inner.members.networks_of(&self.container);
        on.iter().any(|key| !self.networks.is_internal(key))
    }
}

impl Networks {
    /// Whether a container with these endpoints is told names.
    pub fn wants_names(&self, endpoints: &[EndpointRecord]) -> bool {
        let known = |e: &EndpointRecord| e.network != BRIDGE || self.inner.dns.on_bridge;
        endpoints.iter().any(known)
    }

    pub(super) fn is_internal(&self, key: &str) -> bool {
        self.made()
            .get(key)
            .is_some_and(|made| lan::is_internal(&made.record))
    }

    /// The sockets of a container's name server, bound in its namespace.
    pub async fn name_sockets(&self, netns: OwnedFd) -> Result<Sockets> {
        Ok(self.inner.net.name_sockets(netns).await?)
    }

    /// Answers the names that a container asks for, until it leaves its networks. `pid` is of a process of it.
    pub fn serve_names(&self, wishes: &Wishes<'_>, pid: u32, sockets: Sockets) -> Result<()> {
        let names = SandboxNames {
            networks: self.clone(),
            container: wishes.id.clone(),
        };
        let dns = self.dns_wishes(wishes.host);
        let single_labels = !dns.options.iter().any(|option| {
            let dots = option.strip_prefix("ndots:");
            dots.and_then(|n| n.parse::<u32>().ok())
                .is_some_and(|n| n > 0)
        });
        let chosen: Vec<Upstream> = dns
            .servers
            .iter()
            .map(|ip| Upstream {
                address: SocketAddr::new(*ip, dhow_net::dns::PORT),
                from: AskedFrom::Sandbox,
            })
            .collect();
        let of_host = self.inner.name_servers.of_host.clone();
        let upstreams = move || Upstreams {
            servers: match chosen.is_empty() {
                false => chosen.clone(),
                true => of_host.now(),
            },
            single_labels,
            ..Upstreams::default()
        };
        let path = format!("/proc/{pid}/ns/net");
        let inode = std::fs::metadata(&path)
            .map_err(EngineError::io(&path))?
            .ino();
        let namespace = move || {
            let file = File::open(&path)?;
            // The process may have ended, and another have its number.
            match file.metadata()?.ino() == inode {
                true => Ok(file.into()),
                false => Err(std::io::ErrorKind::NotFound.into()),
            }
        };
        let servers = &self.inner.name_servers;
        let server = Server::start(
            sockets,
            Arc::new(names),
            upstreams,
            namespace,
            &servers.forwarding,
        )?;
        servers.lock().insert(wishes.id.clone(), server);
        Ok(())
    }

    /// Whether a container's names are served.
    pub fn serves_names(&self, container: &ContainerId) -> bool {
        self.inner.name_servers.lock().contains_key(container)
    }

    /// Ends what [`Networks::serve_names`] began.
    pub fn end_names(&self, container: &ContainerId) {
        self.inner.name_servers.lock().remove(container);
    }
}
