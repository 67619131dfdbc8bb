//! The networks, names and namespaces of a container.

use std::net::IpAddr;

use dhow_api::{ContainerConfig, HostConfig};

use super::refuse;
use crate::error::Result;
use crate::networks::{NetworkMode, ports};

/// What is published and resolved, and in whose network.
pub fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let mode = NetworkMode::parse(&host.network_mode);
    let publishes = host
        .port_bindings
        .iter()
        .flatten()
        .any(|(_, b)| b.is_some())
        || host.publish_all_ports;
    if let NetworkMode::Container(name) = &mode {
        if name.is_empty() {
            return refuse("invalid container format container:<name|id>");
        }
        let dns = [&host.dns, &host.dns_options, &host.dns_search];
        if dns.iter().any(|d| d.iter().flatten().next().is_some()) {
            return refuse("conflicting options: dns and the network mode");
        }
        if host.extra_hosts.iter().flatten().next().is_some() {
            return refuse("conflicting options: custom host-to-IP mapping and the network mode");
        }
        if publishes {
            return refuse(
                "conflicting options: port publishing and the container type network mode",
            );
        }
    }
    for port in host.port_bindings.iter().flatten().map(|(port, _)| port) {
        ports::parse_port(port)?;
    }
    // Fails on what can't be understood; what it returns is of no interest yet.
    ports::requests(config, host)?;
    for server in host.dns.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return refuse(format!("bad nameserver address: {server}"));
        }
    }
    for entry in host.extra_hosts.iter().flatten() {
        match entry.split_once([':', '=']) {
            Some((name, ip))
                if !name.is_empty()
                    && (ip == "host-gateway"
                        || ip.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()) => {}
            Some((_, ip)) => return refuse(format!("invalid IP address in add-host: \"{ip}\"")),
            None => return refuse(format!("bad format for add-host: \"{entry}\"")),
        }
    }
    Ok(())
}

/// The other namespaces.
pub fn check_namespaces(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let is_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|n| !n.is_empty())
    };
    if !matches!(host.pid_mode.as_str(), "" | "host" | "private") && !is_container(&host.pid_mode) {
        return refuse(format!("invalid PID mode: {}", host.pid_mode));
    }
    let ipc = host.ipc_mode.as_str();
    if !matches!(ipc, "" | "none" | "private" | "host" | "shareable") && !is_container(ipc) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return refuse(format!(
            "invalid cgroup namespace mode: {}",
            host.cgroupns_mode
        ));
    }
    match host.userns_mode.as_str() {
        "" | "host" => Ok(()),
        mode => refuse(format!("invalid user namespace mode: {mode}")),
    }
}
