//! Connecting a container to a network and taking it off, also while it runs.
//!
//! What is stored is where the container is to be; a container that does not run gets there when it starts.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_api::EndpointSettings;
use dhow_net::files;

use super::container::{Container, Life};
use super::define::check_endpoints;
use super::definition::Definition;
use super::links::change_file;
use super::publish::{hold_more, let_go};
use super::state::State;
use super::{Containers, records};
use crate::error::{EngineError, Result};
use crate::networks::{EndpointRecord, NetworkMode, parse_mac};

/// Whether something is published no more, or in another way.
fn frees(before: &[EndpointRecord], after: &[EndpointRecord]) -> bool {
    let still = |port| after.iter().any(|e| e.ports.contains(port));
    !before.iter().flat_map(|e| &e.ports).all(still)
}

impl Containers {
    /// `network` by name or id.
    pub async fn connect(
        &self,
        network: &str,
        name: &str,
        mut settings: EndpointSettings,
    ) -> Result<()> {
        let networks = &self.inner.networks;
        let network = networks.named(network)?;
        let container = self.find(name)?;
        let _ops = container.ops.lock().await;
        let mut definition = Definition::clone(&*container.definition());
        let mode = definition.network_mode();
        match &mode {
            NetworkMode::Host | NetworkMode::Container(_) => {
                return Err(EngineError::invalid(
                    "container sharing network namespace with another container or host cannot be connected to any other network",
                ));
            }
            NetworkMode::None => {
                return Err(EngineError::invalid(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                ));
            }
            NetworkMode::Bridge | NetworkMode::Named(_) => {}
        }
        if let State::Removing(_) | State::Dead(_) = container.state() {
            return Err(EngineError::Refused(format!(
                "Container {} is marked for removal and cannot be connected or disconnected to the network",
                container.id
            )));
        }
        // Where one that does not run is to be is only said anew.
        if definition.endpoints.contains_key(&network) && container.state().run().is_some() {
            return Err(EngineError::NotPermitted(format!(
                "endpoint with name {} already exists in network {network}",
                container.name()
            )));
        }
        if !settings.mac_address.is_empty() {
            parse_mac(&settings.mac_address)?;
        }
        // What only a running container has is not the client's to say.
        settings = EndpointSettings {
            ipam_config: settings.ipam_config,
            links: settings.links,
            aliases: settings.aliases,
            driver_opts: settings.driver_opts,
            gw_priority: settings.gw_priority,
            mac_address: settings.mac_address,
            ..EndpointSettings::default()
        };
        definition.endpoints.insert(network.clone(), settings);
        let first = networks.settled_name(&definition.host_config.network_mode);
        check_endpoints(&definition.endpoints, &mode, &first)?;
        networks.check(&network, &definition.endpoints[&network])?;
        let Some(netns) = namespace(&container)? else {
            return self.redefine(&container, definition).await;
        };
        let name = container.name();
        let before = container.view().life.endpoints.clone();
        let wishes = definition.wishes(&container.id, &name);
        let joined = networks.connect(&wishes, netns, &before, &network).await?;
        let key = joined.endpoints.last().map(|e| e.network.clone());
        // On a wire of the host's there are no ports.
        let frees = frees(&before, &joined.endpoints);
        let settled = self
            .settle(&container, definition, &before, joined.endpoints)
            .await?;
        if settled {
            if !joined.holders.is_empty() {
                hold_more(&container, joined.holders).await;
            }
            if frees {
                let_go(&container).await;
            }
            networks.tell(container.id.as_str(), key.as_deref(), "connect");
            self.begin_names(&container, &before).await;
        }
        Ok(())
    }

    /// `network` by name or id; of one that is no more by its name.
    pub async fn disconnect(&self, network: &str, name: &str) -> Result<()> {
        let networks = &self.inner.networks;
        let container = self.find(name)?;
        let network = match networks.named(network) {
            Ok(network) => network,
            Err(_) if container.definition().endpoints.contains_key(network) => network.to_owned(),
            Err(e) => return Err(e),
        };
        let _ops = container.ops.lock().await;
        let mut definition = Definition::clone(&*container.definition());
        if network == "host" && definition.network_mode() == NetworkMode::Host {
            return Err(EngineError::NotPermitted(
                "container cannot be disconnected from host network or connected to host network"
                    .to_owned(),
            ));
        }
        if definition.endpoints.remove(&network).is_none() {
            return Err(EngineError::NotPermitted(format!(
                "container {} is not connected to network {network}",
                container.id
            )));
        }
        let before = container.view().life.endpoints.clone();
        let key = networks.key(&network);
        let runs_there = before.iter().any(|e| e.network == key);
        let (true, Some(netns)) = (runs_there, namespace(&container)?) else {
            return self.redefine(&container, definition).await;
        };
        let name = container.name();
        let wishes = definition.wishes(&container.id, &name);
        let left = networks.disconnect(&wishes, netns, &before, &key).await;
        let (left, holders) = (left.endpoints, left.holders);
        let frees = frees(&before, &left);
        if self.settle(&container, definition, &before, left).await? {
            if !holders.is_empty() {
                hold_more(&container, holders).await;
            }
            if frees {
                let_go(&container).await;
            }
            networks.tell(container.id.as_str(), [key.as_str()], "disconnect");
        }
        Ok(())
    }

    /// A running container's places are others from now on, and so is where it is to be. `false` if it has ended meanwhile: then
    /// only the latter is so.
    pub(super) async fn settle(
        &self,
        container: &Arc<Container>,
        definition: Definition,
        before: &[EndpointRecord],
        after: Vec<EndpointRecord>,
    ) -> Result<bool> {
        let new: Vec<EndpointRecord> = after
            .iter()
            .filter(|e| before.iter().all(|b| b.id != e.id))
            .cloned()
            .collect();
        {
            let turn = container.turn().await;
            // What an end has given back is not given again.
            let life = {
                let view = container.view();
                let runs = view.life.state.run().is_some() && view.life.endpoints == before;
                runs.then(|| Life {
                    endpoints: after.clone(),
                    ..view.lasting()
                })
            };
            let Some(life) = life else {
                drop(turn);
                self.inner.networks.leave(&container.id, &new).await;
                self.redefine(container, definition).await?;
                return Ok(false);
            };
            let name = container.name();
            let store = &self.inner.store;
            let kept =
                records::save_definition(store, &container.id, &name, &definition, Some(life))
                    .await;
            if let Err(e) = kept {
                drop(turn);
                match namespace(container) {
                    Ok(Some(netns)) => {
                        let networks = &self.inner.networks;
                        networks.part_all(&container.id, &netns, &new).await;
                    }
                    _ => self.inner.networks.leave(&container.id, &new).await,
                }
                return Err(e);
            }
            let networks = &self.inner.networks;
            networks.keep_addresses(&container.id, &definition.endpoints);
            let mut view = container.view();
            view.life.endpoints.clone_from(&after);
            view.definition = Arc::new(definition);
        }
        let config = container.definition();
        let names = files::own_names(&config.config.hostname, &config.config.domainname);
        let gone: Vec<_> = before
            .iter()
            .filter(|b| after.iter().all(|e| e.id != b.id))
            .flat_map(EndpointRecord::addresses)
            .collect();
        change_file(container, container.etc_files().hosts, move |text| {
            let mut text = text.to_owned();
            for address in gone {
                text = files::with_address(&text, address, None);
            }
            for address in new.iter().flat_map(EndpointRecord::addresses) {
                text = files::with_address(&text, address, Some(&names));
            }
            text
        })
        .await;
        Ok(true)
    }
}

/// The network namespace of a running container.
pub(super) fn namespace(container: &Container) -> Result<Option<OwnedFd>> {
    let Some(pid) = container.state().run().map(|r| r.pid) else {
        return Ok(None);
    };
    let path = format!("/proc/{pid}/ns/net");
    match File::open(&path) {
        Ok(file) => Ok(Some(file.into())),
        // It has just ended, and its end is not yet known.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(EngineError::io(path)(e)),
    }
}
