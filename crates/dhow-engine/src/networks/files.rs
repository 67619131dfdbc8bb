//! The files in /etc that tell a container of its network: hosts, hostname, resolv.conf.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dhow_api::HostConfig;
use dhow_net::files;

use super::endpoint::EndpointRecord;
use super::{NetworkMode, Networks, Wishes};
use crate::error::{EngineError, Result};

const HOST_NAME: &str = "host.docker.internal";

/// The files that the daemon keeps for a container and mounts into it.
#[derive(Clone, Debug)]
pub struct EtcFiles {
    pub hosts: PathBuf,
    pub hostname: PathBuf,
    pub resolv_conf: PathBuf,
}

impl EtcFiles {
    /// Those of the container whose directory this is.
    pub fn of(dir: &Path) -> EtcFiles {
        EtcFiles {
            hosts: dir.join("hosts"),
            hostname: dir.join("hostname"),
            resolv_conf: dir.join("resolv.conf"),
        }
    }

    /// What tells of a shared network is shared as well: one file under two names, so that what changes is told to both.
    pub fn share(&self, other: &EtcFiles) -> Result<()> {
        for (from, to) in [
            (&other.hosts, &self.hosts),
            (&other.hostname, &self.hostname),
            (&other.resolv_conf, &self.resolv_conf),
        ] {
            match std::fs::remove_file(to) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(EngineError::io(to.display())(e));
                }
                _ => std::fs::hard_link(from, to).map_err(EngineError::io(from.display()))?,
            }
        }
        Ok(())
    }
}

impl Networks {
    /// `linked` are other containers' addresses, each with the names that this one has for it.
    pub fn write_files(
        &self,
        wishes: &Wishes<'_>,
        endpoints: &[EndpointRecord],
        linked: &[(IpAddr, String)],
        paths: &EtcFiles,
    ) -> Result<()> {
        let (config, host) = (wishes.config, wishes.host);
        let own: Vec<IpAddr> = endpoints
            .iter()
            .flat_map(EndpointRecord::addresses)
            .collect();
        let wanted = files::Hosts {
            hostname: &config.hostname,
            domain: &config.domainname,
            addresses: &own,
            linked,
            extra: &self.extra_hosts(wishes, endpoints),
            host_gateway: Some(IpAddr::V4(self.inner.bridge.gateway)),
        };
        let dns = self.dns_wishes(host);
        let dns = files::DnsOptions {
            servers: &dns.servers,
            search: &dns.search,
            options: &dns.options,
        };
        let invalid = |e: files::FileError| EngineError::invalid(e.to_string());
        let (hosts, resolv) = if wishes.mode() == NetworkMode::Host {
            let host = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            (
                files::hosts_of_host(&host, &wanted).map_err(invalid)?,
                files::resolv_conf_of_host(&servers, &dns),
            )
        } else {
            (
                files::hosts(&wanted).map_err(invalid)?,
                self.resolv_conf(wishes, endpoints)?,
            )
        };
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).map_err(EngineError::io(path.display()))
        };
        write(&paths.hosts, &hosts)?;
        write(&paths.resolv_conf, &resolv)?;
        write(&paths.hostname, &files::hostname(&config.hostname))
    }

    /// Those that are wished for, and the host by the name that it has in Docker's desktop programs: for who has a way there, and has
    /// not given the name to another.
    fn extra_hosts(&self, wishes: &Wishes<'_>, endpoints: &[EndpointRecord]) -> Vec<String> {
        let mut extra = wishes.host.extra_hosts.clone().unwrap_or_default();
        let has_way = endpoints.iter().any(|e| !self.is_internal(&e.network));
        let given = |entry: &String| {
            let name = files::split_extra_host(entry).map(|(name, _)| name);
            name.is_ok_and(|name| name.eq_ignore_ascii_case(HOST_NAME))
        };
        if has_way && !extra.iter().any(given) {
            extra.push(format!("{HOST_NAME}:{}", files::HOST_GATEWAY));
        }
        extra
    }

    /// What tells the resolver of a container with these endpoints whom to ask.
    pub fn resolv_conf(&self, wishes: &Wishes<'_>, endpoints: &[EndpointRecord]) -> Result<String> {
        let dns = self.dns_wishes(wishes.host);
        let dns = files::DnsOptions {
            servers: &dns.servers,
            search: &dns.search,
            options: &dns.options,
        };
        let host = files::host_resolv_conf().map_err(EngineError::io("/etc/resolv.conf"))?;
        Ok(match self.wants_names(endpoints) {
            true => files::resolv_conf_of_server(&host, &dns, dhow_net::dns::ADDRESS.into()),
            false => files::resolv_conf(&host, &dns),
        })
    }

    pub(super) fn dns_wishes(&self, host: &HostConfig) -> DnsWishes {
        let own = |list: &Option<Vec<String>>, default: &[String]| match list {
            Some(list) if !list.is_empty() => list.clone(),
            _ => default.to_vec(),
        };
        let defaults = &self.inner.dns;
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

pub(super) struct DnsWishes {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}
