//! Ports of an endpoint that go and come while it is there.

use std::net::Ipv4Addr;

use tokio::sync::oneshot;

use super::Network;
use crate::endpoint::{PortBinding, PortChange, Published};
use crate::error::{Error, Result};
use crate::firewall::Job;

impl Network {
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
