//! Addresses that containers have asked for, kept for them also while they don't run: nobody else is given one unasked.
//!
//! As in Docker, several containers may ask for one address, such as a service's next container beside its last: it is kept
//! for all of them, and whoever starts while another has it is refused.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use dhow_api::EndpointSettings;
use dhow_net::Network;

use super::Networks;
use crate::id::ContainerId;

/// By the networks' names: one that is made again keeps them too.
type ByNetwork = BTreeMap<String, Vec<IpAddr>>;

#[derive(Default)]
pub struct Kept {
    wanted: Mutex<HashMap<ContainerId, ByNetwork>>,
}

impl Kept {
    /// Held before the table of networks is.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, ByNetwork>> {
        self.wanted.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// What was asked for. What is no address was refused before.
fn wanted(endpoints: &BTreeMap<String, EndpointSettings>) -> ByNetwork {
    let mut wanted = ByNetwork::new();
    for (network, settings) in endpoints {
        let Some(config) = &settings.ipam_config else {
            continue;
        };
        let texts = [&config.ipv4_address, &config.ipv6_address];
        let ips: Vec<IpAddr> = texts.iter().filter_map(|t| t.parse().ok()).collect();
        if !ips.is_empty() {
            wanted.insert(network.clone(), ips);
        }
    }
    wanted
}

impl Networks {
    /// Keeps what a container asks for of its networks from now on, in place of what it asked for before.
    pub fn keep_addresses(
        &self,
        container: &ContainerId,
        endpoints: &BTreeMap<String, EndpointSettings>,
    ) {
        let wanted = wanted(endpoints);
        let mut all = self.inner.kept.lock();
        if all.get(container) == Some(&wanted) {
            return;
        }
        self.set_kept(&wanted, true);
        let before = match wanted.is_empty() {
            true => all.remove(container),
            false => all.insert(container.clone(), wanted),
        };
        if let Some(before) = before {
            self.set_kept(&before, false);
        }
    }

    /// A network that is not yet to be found keeps what containers ask for of it.
    pub(super) fn keep_of(&self, all: &HashMap<ContainerId, ByNetwork>, name: &str, net: &Network) {
        for ip in all.values().filter_map(|by| by.get(name)).flatten() {
            net.keep(*ip, true);
        }
    }

    fn set_kept(&self, of: &ByNetwork, kept: bool) {
        for (network, ips) in of {
            let net = {
                let made = self.made();
                made.named(network).and_then(|made| made.net.clone())
            };
            // One that is made later is told then.
            let Some(net) = net else { continue };
            for ip in ips {
                net.keep(*ip, kept);
            }
        }
    }
}
