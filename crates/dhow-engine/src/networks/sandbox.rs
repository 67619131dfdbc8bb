//! A container's place in the network: its endpoint on the bridge, the host's or another container's
//! namespace, published ports, and the files in /etc that tell of it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_net::{EndpointRequest, MacAddr, PortBinding, Protocol, files};

use crate::containers::container::{Container, EndpointRecord, PublishedPort};
use crate::containers::definition::{Definition, NetworkMode};
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::networks::ports;

/// What a start gets of the network.
#[derive(Default)]
pub struct Sandbox {
    /// `None` is the host's namespace.
    pub netns: Option<OwnedFd>,
    pub endpoint: Option<EndpointRecord>,
    /// Sockets that keep the published ports, for the shim to hold.
    pub holders: Vec<OwnedFd>,
}

pub fn parse_mac(text: &str) -> Result<MacAddr> {
    text.parse::<MacAddr>()
        .map_err(|e| EngineError::invalid(e.to_string()))
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

impl Engine {
    /// Connects a container that is about to start. What was made is undone by [`Engine::leave`] or, on an
    /// error, here.
    pub(crate) async fn enter(&self, container: &Arc<Container>) -> Result<Sandbox> {
        let definition = container.definition();
        let network = &self.inner.network;
        match definition.network_mode() {
            NetworkMode::Host => Ok(Sandbox::default()),
            NetworkMode::None => Ok(Sandbox {
                netns: Some(network.isolated().await?),
                ..Sandbox::default()
            }),
            NetworkMode::Container(name) => {
                let other = self.inner.containers.find(&name)?;
                Ok(Sandbox {
                    netns: self.namespace_of(&other)?,
                    ..Sandbox::default()
                })
            }
            NetworkMode::Named(name) => {
                Err(EngineError::NotFound(format!("network {name} not found")))
            }
            NetworkMode::Bridge => self.connect(container, &definition).await,
        }
    }

    fn namespace_of(&self, other: &Container) -> Result<Option<OwnedFd>> {
        let Some(pid) = other.state().run().map(|r| r.pid) else {
            return Err(EngineError::Conflict(format!(
                "cannot join network namespace of a non running container: container {} is {}",
                other.id,
                other.state().status()
            )));
        };
        let path = format!("/proc/{pid}/ns/net");
        let file = std::fs::File::open(&path).map_err(EngineError::io(path))?;
        Ok(Some(file.into()))
    }

    async fn connect(
        &self,
        container: &Arc<Container>,
        definition: &Definition,
    ) -> Result<Sandbox> {
        let network = &self.inner.network;
        let requests = ports::requests(definition)?;
        let mac = match definition
            .endpoints
            .get("bridge")
            .map(|e| e.mac_address.as_str())
        {
            None | Some("") => None,
            Some(text) => Some(parse_mac(text)?),
        };
        let id = crate::id::random_hex()?;
        let endpoint = network
            .connect(EndpointRequest {
                id: id.clone(),
                name: container.name().to_string(),
                mac,
                ip: None,
            })
            .await?;
        let mut record = EndpointRecord {
            id,
            ip: endpoint.ip,
            prefix: endpoint.prefix,
            gateway: endpoint.gateway,
            mac: endpoint.mac.to_string(),
            host_link: endpoint.host_link,
            ports: Vec::new(),
        };
        let mut holders = Vec::new();
        if !requests.is_empty() {
            match network.publish(endpoint.ip, &requests).await {
                Ok(published) => {
                    record.ports = published.bindings.iter().map(from_binding).collect();
                    holders = published.holders;
                }
                Err(e) => {
                    tracing::info!(container = %container.id, error = ?e, "its ports can't be published");
                    self.disconnect(endpoint.ip).await;
                    return Err(e.into());
                }
            }
        }
        Ok(Sandbox {
            netns: Some(endpoint.netns),
            endpoint: Some(record),
            holders,
        })
    }

    /// Gives an endpoint back. Works on one that is gone already.
    pub(crate) async fn leave(&self, endpoint: &EndpointRecord) {
        let bindings: Vec<PortBinding> = endpoint.ports.iter().filter_map(to_binding).collect();
        if !bindings.is_empty()
            && let Err(e) = self.inner.network.unpublish(endpoint.ip, &bindings).await
        {
            tracing::error!(ip = %endpoint.ip, error = %e, "its ports stay published");
        }
        self.disconnect(endpoint.ip).await;
    }

    async fn disconnect(&self, ip: std::net::Ipv4Addr) {
        if let Err(e) = self.inner.network.disconnect(ip).await {
            tracing::error!(%ip, error = %e, "its address is not free again");
        }
    }

    /// Writes hosts, hostname and resolv.conf.
    pub(crate) fn write_etc_files(
        &self,
        container: &Container,
        endpoint: Option<&EndpointRecord>,
    ) -> Result<()> {
        let definition = container.definition();
        let paths = container.etc_files();
        let mode = definition.network_mode();
        if let NetworkMode::Container(name) = &mode {
            // What tells of a shared network is shared as well.
            let other = self.inner.containers.find(name)?.etc_files();
            for (from, to) in [
                (&other.hosts, &paths.hosts),
                (&other.hostname, &paths.hostname),
                (&other.resolv_conf, &paths.resolv_conf),
            ] {
                std::fs::copy(from, to).map_err(EngineError::io(from.display()))?;
            }
            return Ok(());
        }
        let own: Vec<IpAddr> = endpoint.map(|e| IpAddr::V4(e.ip)).into_iter().collect();
        let wanted = files::Hosts {
            hostname: &definition.config.hostname,
            domain: &definition.config.domainname,
            addresses: &own,
            extra: definition
                .host_config
                .extra_hosts
                .as_deref()
                .unwrap_or_default(),
            host_gateway: Some(IpAddr::V4(self.inner.network.bridge().gateway)),
        };
        let dns = self.dns_wishes(&definition);
        let dns = files::DnsOptions {
            servers: &dns.servers,
            search: &dns.search,
            options: &dns.options,
        };
        let invalid = |e: files::FileError| EngineError::invalid(e.to_string());
        let (hosts, resolv) = if mode == NetworkMode::Host {
            let host = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            (
                files::hosts_of_host(&host, &wanted).map_err(invalid)?,
                files::resolv_conf_of_host(&servers, &dns),
            )
        } else {
            let servers = files::host_resolv_conf().map_err(EngineError::io("/etc/resolv.conf"))?;
            (
                files::hosts(&wanted).map_err(invalid)?,
                files::resolv_conf(&servers, &dns),
            )
        };
        let write = |path: &std::path::Path, text: &str| {
            std::fs::write(path, text).map_err(EngineError::io(path.display()))
        };
        write(&paths.hosts, &hosts)?;
        write(&paths.resolv_conf, &resolv)?;
        write(
            &paths.hostname,
            &files::hostname(&definition.config.hostname),
        )
    }

    fn dns_wishes(&self, definition: &Definition) -> DnsWishes {
        let own = |list: &Option<Vec<String>>, default: &[String]| match list {
            Some(list) if !list.is_empty() => list.clone(),
            _ => default.to_vec(),
        };
        let host = &definition.host_config;
        let defaults = &self.inner.config.dns;
        DnsWishes {
            // Checked at creation, and when the daemon's configuration was read.
            servers: own(&host.dns, &defaults.servers)
                .iter()
                .filter_map(|s| s.parse().ok())
                .collect(),
            search: own(&host.dns_search, &defaults.search),
            options: own(&host.dns_options, &defaults.options),
        }
    }
}

struct DnsWishes {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

fn from_binding(b: &PortBinding) -> PublishedPort {
    PublishedPort {
        protocol: b.protocol.name().to_owned(),
        container_port: b.container_port,
        host_ip: b.host_ip,
        host_port: b.host_port,
    }
}

pub fn to_binding(p: &PublishedPort) -> Option<PortBinding> {
    Some(PortBinding {
        protocol: Protocol::from_name(&p.protocol)?,
        container_port: p.container_port,
        host_ip: p.host_ip,
        host_port: p.host_port,
    })
}
