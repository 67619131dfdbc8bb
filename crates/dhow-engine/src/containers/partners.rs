//! The containers that another one shares something with, `container:` modes and links, and what is asked of them
//! when it starts: they run, and what is shared can be (moby `daemon/container_operations_unix.go`).
//!
//! A definition names them by id. A container that ends or is removed leaves those that share with it running in
//! what was its namespace; to start again they need it back.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::protocol::Joined;

use super::container::Container;
use super::definition::Definition;
use super::spec::{Shared, SharedIpc};
use super::state::State;
use super::{Containers, links};
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::networks::NetworkMode;

/// How long a start waits at most for those that are being started as well, as Docker does at its daemon's start.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// What a start joins.
#[derive(Debug, Default)]
pub(super) struct Partners {
    pub shared: Shared,
    pub joined: Vec<(Joined, OwnedFd)>,
}

impl Containers {
    /// Those whose namespaces a definition shares or that it links to, as far as they are there.
    fn partners_of(&self, definition: &Definition) -> Vec<Arc<Container>> {
        let host = &definition.host_config;
        let network = match definition.network_mode() {
            NetworkMode::Container(name) => Some(name),
            _ => None,
        };
        let modes = [&host.pid_mode, &host.ipc_mode].into_iter();
        let named = modes
            .filter_map(|mode| mode.strip_prefix("container:").map(str::to_owned))
            .chain(network);
        let linked = links::of(definition).map(|(id, _)| id.to_string());
        let names: BTreeSet<String> = named.chain(linked).collect();
        names
            .iter()
            .filter_map(|name| self.find(name).ok())
            .collect()
    }

    /// Waits a while for those that a container needs and that are on their way: `coming` tells of those whose start
    /// has not begun.
    pub async fn await_partners(
        &self,
        container: &Container,
        coming: impl Fn(&ContainerId) -> bool,
    ) {
        let partners = self.partners_of(&container.definition());
        if partners.is_empty() {
            return;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let is_coming = |partner: &Arc<Container>| {
            matches!(partner.state(), State::Restarting(_) | State::Starting(_))
                || coming(&partner.id)
        };
        while partners.iter().any(is_coming) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Finds whom a start shares with, or says why it can't.
    pub(super) async fn partners(&self, definition: &Definition) -> Result<Partners> {
        let host = &definition.host_config;
        let mut partners = Partners::default();
        if let Some(name) = host.pid_mode.strip_prefix("container:") {
            let init = self.init_to_join("PID", name).await?.1;
            partners.shared.pid = true;
            partners.joined.push((Joined::Pid, init));
        }
        match host.ipc_mode.strip_prefix("container:") {
            Some(name) => {
                let (other, init) = self.init_to_join("IPC", name).await?;
                partners.shared.ipc = self.shared_ipc(&other, name)?;
                if partners.shared.ipc == SharedIpc::Container {
                    partners.joined.push((Joined::Ipc, init));
                }
            }
            None if host.ipc_mode == "host" => partners.shared.ipc = SharedIpc::Host,
            None => {}
        }
        if partners.shared.ipc == SharedIpc::Host && !Path::new("/dev/shm").is_dir() {
            return Err(EngineError::invalid(
                "/dev/shm is not mounted, but must be for --ipc=host",
            ));
        }
        Ok(partners)
    }

    async fn init_to_join(
        &self,
        namespace: &'static str,
        name: &str,
    ) -> Result<(Arc<Container>, OwnedFd)> {
        let refused = |why: String| EngineError::CannotShare { namespace, why };
        let other = self.find(name).map_err(|e| refused(e.to_string()))?;
        if let State::Restarting(_) = other.state() {
            return Err(refused(format!(
                "Container {} is restarting, wait until the container is running",
                other.id
            )));
        }
        match self.init_of(&other).await? {
            Some(init) => Ok((other, init)),
            None => Err(refused(format!("container {} is not running", other.id))),
        }
    }

    /// What a container that shares the ipc namespace of another one is in by that.
    fn shared_ipc(&self, other: &Container, name: &str) -> Result<SharedIpc> {
        let definition = other.definition();
        let mode = definition.host_config.ipc_mode.as_str();
        // Shared memory is at its place, or nobody could know that it is another's.
        let has_own = has_mount_at(&definition, "/dev/shm");
        match mode {
            "host" => Ok(SharedIpc::Host),
            "shareable" if !has_own => Ok(SharedIpc::Container),
            _ if mode.starts_with("container:") && !has_own => {
                // It may be the host's in the end; of one that is gone, this one's process says the same.
                let donor = self.find(&mode["container:".len()..]);
                donor.map_or(Ok(SharedIpc::Container), |donor| {
                    self.shared_ipc(&donor, name)
                })
            }
            _ => Err(EngineError::invalid(format!(
                "failed to join IPC namespace: container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            ))),
        }
    }
}

fn has_mount_at(definition: &Definition, place: &str) -> bool {
    let host = &definition.host_config;
    let at_place = |destination: &str| Path::new(destination) == Path::new(place);
    definition.mounts.iter().any(|m| at_place(&m.destination))
        || host.tmpfs.keys().any(|destination| at_place(destination))
}
