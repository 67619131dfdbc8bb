//! A container's place in the network: its endpoint on the bridge, the host's namespace or one of its own,
//! and its published ports.

use std::os::fd::OwnedFd;

use dhow_net::EndpointRequest;

use super::endpoint::{EndpointRecord, PublishedPort, parse_mac};
use super::{NetworkMode, Networks, Wishes, ports};
use crate::error::{EngineError, Result};

/// What a start gets of the network.
#[derive(Default)]
pub struct Sandbox {
    /// `None` is the host's namespace.
    pub netns: Option<OwnedFd>,
    pub endpoint: Option<EndpointRecord>,
    /// Sockets that keep the published ports, for the shim to hold.
    pub holders: Vec<OwnedFd>,
}

impl Networks {
    /// Connects a container that is about to start. What was made is undone by [`Networks::leave`] or, on an
    /// error, here. Another container's namespace is that container's to give.
    pub async fn enter(&self, wishes: &Wishes<'_>) -> Result<Sandbox> {
        match wishes.mode() {
            NetworkMode::Host => Ok(Sandbox::default()),
            NetworkMode::None => Ok(Sandbox {
                netns: Some(self.inner.net.isolated().await?),
                ..Sandbox::default()
            }),
            NetworkMode::Container(name) | NetworkMode::Named(name) => {
                Err(EngineError::NoSuchNetwork(name))
            }
            NetworkMode::Bridge => self.connect(wishes).await,
        }
    }

    async fn connect(&self, wishes: &Wishes<'_>) -> Result<Sandbox> {
        let net = &self.inner.net;
        let requests = ports::requests(wishes.config, wishes.host)?;
        let mac = match wishes
            .endpoints
            .get("bridge")
            .map(|e| e.mac_address.as_str())
        {
            None | Some("") => None,
            Some(text) => Some(parse_mac(text)?),
        };
        let id = crate::id::random_hex()?;
        let endpoint = net
            .connect(EndpointRequest {
                id: id.clone(),
                name: wishes.name.to_owned(),
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
            match net.publish(endpoint.ip, &requests).await {
                Ok(published) => {
                    record.ports = published.bindings.iter().map(PublishedPort::new).collect();
                    holders = published.holders;
                }
                Err(e) => {
                    tracing::info!(container = wishes.name, error = ?e, "its ports can't be published");
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
    pub async fn leave(&self, endpoint: &EndpointRecord) {
        let bindings = endpoint.bindings();
        if !bindings.is_empty()
            && let Err(e) = self.inner.net.unpublish(endpoint.ip, &bindings).await
        {
            tracing::error!(ip = %endpoint.ip, error = %e, "its ports stay published");
        }
        self.disconnect(endpoint.ip).await;
    }

    async fn disconnect(&self, ip: std::net::Ipv4Addr) {
        if let Err(e) = self.inner.net.disconnect(ip).await {
            tracing::error!(%ip, error = %e, "its address is not free again");
        }
    }
}
