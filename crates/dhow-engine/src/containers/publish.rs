//! Changing the published ports of a container, also while it runs.
//!
//! Invariant: what its shim keeps bound is at least what its record says is published, at every instant. New sockets are handed
//! over before the record names their ports, and those of ports that it names no more are taken back afterwards; a daemon that
//! comes in between takes back what is too much.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_api::PortMap;
use dhow_net::dns::Sockets;
use dhow_net::held::{self, HostPort};
use dhow_runtime::Shim;
use tokio::sync::MutexGuard;

use super::Containers;
use super::container::Container;
use super::definition::Definition;
use super::validate;
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::networks::port_changes::{self, Change, Now};
use crate::networks::{ChangedPorts, EndpointRecord, NetworkMode};

/// What a client wants of published ports.
#[derive(Clone, Default)]
pub(super) struct Asked {
    pub add: PortMap,
    pub remove: PortMap,
}

/// Ports that are changed and not yet recorded.
pub(super) struct Applied<'a> {
    pub before: Vec<EndpointRecord>,
    pub changed: ChangedPorts,
    /// Nobody else changes what the shim holds.
    holding: MutexGuard<'a, ()>,
}

/// In Docker's words, when ports are to be published of a container in the host's network.
pub(super) const DISCARDED: &str = "Published ports are discarded when using host network mode";

impl Asked {
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl Containers {
    /// Takes over what the shim of a running container keeps open: the sockets of its name server, and those of its ports, of which
    /// a daemon that ended in the middle of a change may have left too many.
    pub async fn resume_held(&self, container: &Container, shim: &Shim) {
        if !container.definition().is_on_networks() {
            return;
        }
        let (names, ports) = match shim.held().await {
            Ok(held) => Sockets::among(held),
            Err(e) => {
                tracing::warn!(container = %container.id, error = %e, "its shim gives no sockets back");
                (None, Vec::new())
            }
        };
        self.resume_names(container, names).await;
        match fewer(container, ports).await {
            Ok(None) => {}
            Ok(Some(_)) => let_go(container).await,
            Err(e) => {
                tracing::warn!(container = %container.id, error = %e, "which ports it keeps is not known");
            }
        }
    }

    /// Changes the definition, and says what that does to a container that runs. Nothing is done yet.
    pub(super) async fn plan_ports(
        &self,
        container: &Arc<Container>,
        definition: &mut Definition,
        asked: Asked,
    ) -> Result<Change> {
        if let NetworkMode::Container(_) = definition.network_mode() {
            return Err(EngineError::invalid(
                "conflicting options: port publishing and the container type network mode",
            ));
        }
        let published = {
            let view = container.view();
            let runs = view.life.state.run().is_some();
            let ports = |endpoint: &EndpointRecord| endpoint.ports.clone();
            runs.then(|| {
                view.life
                    .endpoints
                    .iter()
                    .flat_map(ports)
                    .collect::<Vec<_>>()
            })
        };
        let published = published.filter(|_| definition.is_on_networks());
        let runs = published.is_some();
        let names = definition.endpoints.keys();
        let both_families = !runs && self.inner.networks.has_both_families(names);
        let mut config = definition.config.clone();
        let mut host = definition.host_config.clone();
        // There can be as many ports as numbers.
        let planned = blocking(move || {
            let now = match &published {
                Some(published) => Now::Published(published),
                None => Now::Idle { both_families },
            };
            let change = port_changes::plan(&mut config, &mut host, now, &asked.add, &asked.remove);
            change.map(|change| (config, host, change))
        })
        .await?;
        let (config, host, change) = planned.map_err(|e| match e {
            EngineError::Refused(why) => {
                EngineError::Refused(format!("cannot update container {}: {why}", container.id))
            }
            e => e,
        })?;
        validate::check_network(&config, &host)?;
        definition.config = config;
        definition.host_config = host;
        Ok(if runs { change } else { Change::default() })
    }

    /// Changes the ports of a running container. `None` if there is nothing to change, or it has just ended.
    pub(super) async fn apply_ports<'a>(
        &self,
        container: &'a Arc<Container>,
        definition: &Definition,
        change: Change,
    ) -> Result<Option<Applied<'a>>> {
        if change.is_empty() {
            return Ok(None);
        }
        let holding = container.holding.lock().await;
        let before = container.view().life.endpoints.clone();
        let applied = self
            .try_apply_ports(container, definition, &before, change)
            .await;
        match applied {
            Ok(changed) => Ok(changed.map(|changed| Applied {
                before,
                changed,
                holding,
            })),
            Err(e) => {
                let has_ended = {
                    let view = container.view();
                    view.life.state.run().is_none() || view.life.endpoints != before
                };
                // The next start publishes them.
                if has_ended { Ok(None) } else { Err(e) }
            }
        }
    }

    async fn try_apply_ports(
        &self,
        container: &Arc<Container>,
        definition: &Definition,
        before: &[EndpointRecord],
        change: Change,
    ) -> Result<Option<ChangedPorts>> {
        let networks = &self.inner.networks;
        let failed = || EngineError::io("handing sockets over");
        let shim = container.shim()?;
        let mut held = shim.held().await.map_err(failed())?;
        let mut spare = Vec::new();
        if !change.gone.is_empty() && !change.added.is_empty() {
            let bindings = change.gone.iter().filter_map(|port| port.binding());
            let gone: HashSet<HostPort> = bindings.map(|b| HostPort::from(&b)).collect();
            let found = blocking(move || (held::find(&held, &gone), held)).await?;
            (spare, held) = (found.0.map_err(failed())?, found.1);
        }
        let name = container.name();
        let wishes = definition.wishes(&container.id, &name);
        let changed = networks
            .change_ports(&wishes, before, change, spare)
            .await?;
        let Some(mut changed) = changed else {
            return Ok(None);
        };
        if changed.holders.is_empty() {
            return Ok(Some(changed));
        }
        held.append(&mut changed.holders);
        match shim.hold(&held).await {
            Ok(()) => Ok(Some(changed)),
            Err(e) => {
                networks.change_ports_back(&wishes, before, changed).await;
                Err(failed()(e))
            }
        }
    }

    /// Takes a change back that is not recorded.
    pub(super) async fn undo_ports(
        &self,
        container: &Arc<Container>,
        definition: &Definition,
        applied: Applied<'_>,
    ) {
        let name = container.name();
        let wishes = definition.wishes(&container.id, &name);
        let Applied {
            before,
            changed,
            holding,
        } = applied;
        self.inner
            .networks
            .change_ports_back(&wishes, &before, changed)
            .await;
        let_go_locked(container, &holding).await;
    }

    /// Records a change, with the definition. Without one, the definition alone.
    pub(super) async fn settle_ports(
        &self,
        container: &Arc<Container>,
        definition: Definition,
        applied: Option<Applied<'_>>,
    ) -> Result<()> {
        let Some(applied) = applied else {
            return self.redefine(container, definition).await;
        };
        let after = applied.changed.endpoints.clone();
        let settled = self
            .settle(container, definition, &applied.before, after)
            .await;
        match settled {
            Ok(true) => let_go_locked(container, &applied.holding).await,
            Ok(false) => {
                let endpoints = &applied.changed.endpoints;
                self.inner.networks.leave(&container.id, endpoints).await;
            }
            Err(e) => {
                let definition = container.definition();
                self.undo_ports(container, &definition, applied).await;
                return Err(e);
            }
        }
        Ok(())
    }
}

/// Has the shim hold further sockets. Without, another program of the host can take the ports.
pub(super) async fn hold_more(container: &Container, sockets: Vec<OwnedFd>) {
    let _holding = container.holding.lock().await;
    let held = async {
        let shim = container.shim()?;
        let failed = || EngineError::io("handing sockets over");
        let mut held = shim.held().await.map_err(failed())?;
        held.extend(sockets);
        shim.hold(&held).await.map_err(failed())
    };
    if let Err(e) = held.await {
        tracing::warn!(container = %container.id, error = %e, "its shim does not hold what it is to hold");
    }
}

/// Has the shim hold no ports but those that are published: others may have the rest.
pub(super) async fn let_go(container: &Container) {
    let holding = container.holding.lock().await;
    let_go_locked(container, &holding).await;
}

async fn let_go_locked(container: &Container, _holding: &MutexGuard<'_, ()>) {
    if let Err(e) = try_let_go(container).await {
        tracing::warn!(container = %container.id, error = %e, "ports that it has no more stay taken until it ends");
    }
}

async fn try_let_go(container: &Container) -> Result<()> {
    let shim = container.shim()?;
    let failed = || EngineError::io("taking sockets back");
    let held = shim.held().await.map_err(failed())?;
    let (names, ports) = Sockets::among(held);
    let Some(kept) = fewer(container, ports).await? else {
        return Ok(());
    };
    let names = names.into_iter().flat_map(|s| [s.udp, s.tcp]);
    let kept: Vec<OwnedFd> = names.chain(kept).collect();
    shim.hold(&kept).await.map_err(failed())
}

/// What is to be held of these, if it is less.
async fn fewer(container: &Container, ports: Vec<OwnedFd>) -> Result<Option<Vec<OwnedFd>>> {
    if ports.is_empty() {
        return Ok(None);
    }
    let published: HashSet<HostPort> = {
        let view = container.view();
        let bindings = view.life.endpoints.iter().flat_map(|e| e.bindings());
        bindings.map(|b| HostPort::from(&b)).collect()
    };
    blocking(move || held::keep(&ports, &published))
        .await?
        .map_err(EngineError::io("looking at the sockets that keep ports"))
}
