//! Connecting a container to a network and taking it off, also while it runs.
//!
//! What is stored is where the container is to be; a container that does not run gets there when it starts.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_api::EndpointSettings;
use dhow_net::dns::Sockets;
use dhow_net::files;
use dhow_runtime::Shim;

use super::container::Container;
use super::define::check_endpoints;
use super::definition::Definition;
use super::links::change_file;
use super::state::State;
use super::{Containers, records};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::networks::{EndpointRecord, NetworkMode, parse_mac, wants_names};

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
                return Err(EngineError::NotPermitted(
                    "container sharing network namespace with another container or host cannot be connected to any other network"
                        .to_owned(),
                ));
            }
            NetworkMode::None => {
                return Err(EngineError::NotPermitted(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                        .to_owned(),
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
        if definition.endpoints.contains_key(&network) {
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
        if let Some(netns) = namespace(&container)? {
            let name = container.name();
            let before = container.view().life.endpoints.clone();
            let wishes = definition.wishes(&container.id, &name);
            let joined = networks.connect(&wishes, netns, &before, &network).await?;
            let key = joined.endpoints.last().map(|e| e.network.clone());
            self.settle_endpoints(&container, before.clone(), joined.endpoints)
                .await?;
            networks.tell(container.id.as_str(), key.as_deref(), "connect");
            self.redefine(&container, definition).await?;
            return self.begin_names(&container, &before).await;
        }
        self.redefine(&container, definition).await
    }

    /// A running container is told names from now on, if it is on a network where it is to be and was on none.
    async fn begin_names(
        &self,
        container: &Arc<Container>,
        before: &[EndpointRecord],
    ) -> Result<()> {
        let networks = &self.inner.networks;
        let now = container.view().life.endpoints.clone();
        if !wants_names(&now) || networks.serves_names(&container.id) {
            return Ok(());
        }
        let (Some(netns), Some(pid)) = (
            namespace(container)?,
            container.state().run().map(|r| r.pid),
        ) else {
            return Ok(());
        };
        let sockets = networks.name_sockets(netns).await?;
        if let Err(e) = hold(container, &sockets).await {
            tracing::warn!(container = %container.id, error = %e, "names that it asks for while no daemon runs are lost");
        }
        self.serve_names(container, pid, sockets);
        let (definition, name) = (container.definition(), container.name());
        let wishes = definition.wishes(&container.id, &name);
        let (old, new) = (
            networks.resolv_conf(&wishes, before)?,
            networks.resolv_conf(&wishes, &now)?,
        );
        let path = container.etc_files().resolv_conf;
        // What the container has written there itself stays.
        blocking(move || match std::fs::read_to_string(&path) {
            Ok(text) if text == old => std::fs::write(&path, new),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        })
        .await?
        .map_err(EngineError::io("its resolv.conf"))
    }

    /// Answers the names that a running container asks for.
    pub(super) fn serve_names(&self, container: &Container, pid: u32, sockets: Sockets) {
        let (definition, name) = (container.definition(), container.name());
        let wishes = definition.wishes(&container.id, &name);
        if let Err(e) = self.inner.networks.serve_names(&wishes, pid, sockets) {
            tracing::error!(container = %container.id, error = %e, "it is told no names");
        }
    }

    /// As [`Containers::serve_names`], of a container that an earlier daemon has started. Its shim has the sockets.
    pub async fn resume_names(&self, container: &Container, shim: &Shim) {
        if !wants_names(&container.view().life.endpoints) {
            return;
        }
        let held = match shim.held().await {
            Ok(held) => held,
            Err(e) => {
                tracing::debug!(container = %container.id, error = %e, "its shim gives no sockets back");
                Vec::new()
            }
        };
        let Some(pid) = container.state().run().map(|r| r.pid) else {
            return;
        };
        let sockets = match Sockets::among(held).0 {
            Some(sockets) => Ok(sockets),
            None => self.new_name_sockets(container).await,
        };
        match sockets {
            Ok(sockets) => self.serve_names(container, pid, sockets),
            Err(e) => {
                tracing::error!(container = %container.id, error = %e, "it is told no names");
            }
        }
    }

    async fn new_name_sockets(&self, container: &Container) -> Result<Sockets> {
        match namespace(container)? {
            Some(netns) => self.inner.networks.name_sockets(netns).await,
            None => Err(container.not_running()),
        }
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
        if let Some(netns) = namespace(&container)? {
            let name = container.name();
            let before = container.view().life.endpoints.clone();
            let key = networks.key(&network);
            if before.iter().any(|e| e.network == key) {
                let wishes = definition.wishes(&container.id, &name);
                let left = networks.disconnect(&wishes, netns, &before, &key).await?;
                self.settle_endpoints(&container, before, left.endpoints)
                    .await?;
                networks.tell(container.id.as_str(), [key.as_str()], "disconnect");
            }
        }
        self.redefine(&container, definition).await
    }

    /// A running container's places are others from now on.
    async fn settle_endpoints(
        &self,
        container: &Arc<Container>,
        before: Vec<EndpointRecord>,
        after: Vec<EndpointRecord>,
    ) -> Result<()> {
        {
            let turn = container.turn().await;
            let runs = {
                let mut view = container.view();
                // What an end has given back is not given again.
                let runs = view.life.state.run().is_some() && view.life.endpoints == before;
                if runs {
                    view.life.endpoints.clone_from(&after);
                }
                runs
            };
            if !runs {
                let new: Vec<_> = after
                    .into_iter()
                    .filter(|e| before.iter().all(|b| b.id != e.id))
                    .collect();
                self.inner.networks.leave(&container.id, &new).await;
                return Ok(());
            }
            turn.save(&self.inner.store).await?;
        }
        let config = container.definition();
        let names = files::own_names(&config.config.hostname, &config.config.domainname);
        change_file(container, move |text| {
            let mut text = text.to_owned();
            for endpoint in &before {
                if after.iter().all(|e| e.ip != endpoint.ip) {
                    text = files::with_address(&text, endpoint.ip.into(), None);
                }
            }
            for endpoint in &after {
                if before.iter().all(|e| e.ip != endpoint.ip) {
                    text = files::with_address(&text, endpoint.ip.into(), Some(&names));
                }
            }
            text
        })
        .await;
        Ok(())
    }

    async fn redefine(&self, container: &Arc<Container>, definition: Definition) -> Result<()> {
        records::save_definition(
            &self.inner.store,
            &container.id,
            &container.name(),
            &definition,
        )
        .await?;
        container.view().definition = Arc::new(definition);
        Ok(())
    }
}

/// Has the shim hold a name server's sockets as well.
async fn hold(container: &Container, sockets: &Sockets) -> Result<()> {
    let failed = || EngineError::io("handing a name server's sockets over");
    let shim = container.shim()?;
    let mut held = shim.held().await.map_err(failed())?;
    let own = sockets.try_clone().map_err(failed())?;
    held.extend([own.udp, own.tcp]);
    shim.hold(&held).await.map_err(failed())
}

/// The network namespace of a running container.
fn namespace(container: &Container) -> Result<Option<OwnedFd>> {
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
