//! The ports that an endpoint publishes: at its start, and those that go and come while it is there.

use std::net::Ipv4Addr;

use tokio::sync::oneshot;

use super::Network;
use crate::endpoint::{PortBinding, PortChange, PortRequest, Published};
use crate::error::{Error, Result};
use crate::firewall::Job;

impl Network {
    /// Makes ports of an endpoint reachable from outside: all of them or, with an error that says which and why, none.
    ///
    /// Cancel safe: `disconnect` takes back what a cancelled call published.
    pub async fn publish(&self, ip: Ipv4Addr, requests: &[PortRequest]) -> Result<Published> {
        let (id, name, endpoint) = {
            let mut endpoints = self.entered();
            let entered = endpoints.get_mut(&ip).ok_or(Error::UnknownEndpoint(ip))?;
            entered.published |= !requests.is_empty();
            (entered.id.clone(), entered.name.clone(), entered.addresses)
        };
        if requests.is_empty() {
            return Ok(Published {
                bindings: Vec::new(),
                holders: Vec::new(),
            });
        }
        let requests = requests.to_vec();
        self.ask_firewall(|reply| Job::Publish {
            endpoint,
            id,
            name,
            requests,
            reply,
        })
        .await
    }

    /// Takes published ports back. Those that the endpoint hasn't are passed over.
    pub async fn unpublish(&self, ip: Ipv4Addr, bindings: &[PortBinding]) -> Result<()> {
        let bindings = Some(bindings.to_vec());
        self.ask_firewall(|reply| Job::Unpublish {
            endpoint: ip,
            bindings,
            reply,
        })
        .await
    }

    /// What the endpoint `from`, of this network or another, has published is from now on `to`'s, which is this network's. Gives
    /// what that has then: where it has no IPv6, what was published on the host's IPv6 addresses is no more.
    pub async fn take_ports(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Vec<PortBinding>> {
        let (name, to) = {
            let mut endpoints = self.entered();
            let entered = endpoints.get_mut(&to).ok_or(Error::UnknownEndpoint(to))?;
            entered.published = true;
            (entered.name.clone(), entered.addresses)
        };
        self.ask_firewall(|reply| Job::Move {
            from,
            to,
            name,
            reply,
        })
        .await
    }

    /// Changes what an endpoint publishes: everything or, with an error that says which port and why, nothing. `id` is what the
    /// endpoint was asked for with; where another has its address by now, it is none that is known. Gives what has come.
    ///
    /// Cancel safe: what a cancelled call has changed is changed back.
    pub async fn change_ports(
        &self,
        ip: Ipv4Addr,
        id: &str,
        change: PortChange,
    ) -> Result<Published> {
        let (reply, answer) = oneshot::channel();
        {
            // Under the lock: an end is in the firewall's queue behind this, and takes back what has come.
            let mut endpoints = self.entered();
            let entered = endpoints.get_mut(&ip).filter(|entered| entered.id == id);
            let entered = entered.ok_or(Error::UnknownEndpoint(ip))?;
            entered.published |= !change.added.is_empty();
            self.inner.firewall.submit(Job::Change {
                endpoint: entered.addresses,
                id: entered.id.clone(),
                name: entered.name.clone(),
                change,
                reply,
            });
        }
        self.answered(answer).await
    }

    /// Takes a change back, as long as the sockets of what comes back are held.
    pub async fn change_ports_back(
        &self,
        ip: Ipv4Addr,
        id: &str,
        gone: Vec<PortBinding>,
        back: Vec<PortBinding>,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        {
            let mut endpoints = self.entered();
            let entered = endpoints.get_mut(&ip).filter(|entered| entered.id == id);
            let entered = entered.ok_or(Error::UnknownEndpoint(ip))?;
            entered.published |= !back.is_empty();
            self.inner.firewall.submit(Job::ChangeBack {
                endpoint: entered.addresses,
                name: entered.name.clone(),
                gone,
                back,
                reply,
            });
        }
        self.answered(answer).await
    }
}
