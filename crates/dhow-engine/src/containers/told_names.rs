//! Containers that are told names: from their start, from when they join a network where they are, and on after a new
//! daemon's start.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use dhow_net::dns::Sockets;

use super::Containers;
use super::connect::namespace;
use super::container::Container;
use super::links::change_file;
use super::publish::hold_more;
use crate::error::{EngineError, Result};
use crate::networks::{BRIDGE, EndpointRecord};

impl Containers {
    /// A running container is told names from now on, if it is on a network where it is to be and was on none. Where that
    /// can't be done, it is said.
    pub(super) async fn begin_names(&self, container: &Arc<Container>, before: &[EndpointRecord]) {
        if let Err(e) = self.try_begin_names(container, before).await {
            tracing::warn!(container = %container.id, error = %e, "it is told no names until it starts again");
        }
    }

    async fn try_begin_names(
        &self,
        container: &Arc<Container>,
        before: &[EndpointRecord],
    ) -> Result<()> {
        let networks = &self.inner.networks;
        let now = container.view().life.endpoints.clone();
        if !networks.wants_names(&now) || networks.serves_names(&container.id) {
            return Ok(());
        }
        let run = container.state().run().cloned();
        let (Some(netns), Some(run)) = (namespace(container)?, run) else {
            return Ok(());
        };
        let sockets = networks.name_sockets(netns).await?;
        let held = sockets
            .try_clone()
            .map_err(EngineError::io("keeping a name server's sockets"))?;
        hold_more(container, vec![held.udp, held.tcp]).await;
        self.serve_names(container, run.pid, sockets);
        {
            let _turn = container.turn().await;
            // An end that came before has looked for a server already.
            if container.state().run().map(|r| (r.pid, r.started_at))
                != Some((run.pid, run.started_at))
            {
                networks.end_names(&container.id);
                return Ok(());
            }
        }
        let (definition, name) = (container.definition(), container.name());
        let wishes = definition.wishes(&container.id, &name);
        let (old, new) = (
            networks.resolv_conf(&wishes, before)?,
            networks.resolv_conf(&wishes, &now)?,
        );
        let path = container.etc_files().resolv_conf;
        // What the container has written there itself stays. The host's servers may be others than at the start.
        let untouched = written_before(&path, run.started_at);
        change_file(container, path, move |text| {
            match untouched || text == old {
                true => new,
                false => text.to_owned(),
            }
        })
        .await;
        Ok(())
    }

    /// Answers the names that a running container asks for.
    pub(super) fn serve_names(&self, container: &Container, pid: u32, sockets: Sockets) {
        let (definition, name) = (container.definition(), container.name());
        let wishes = definition.wishes(&container.id, &name);
        if let Err(e) = self.inner.networks.serve_names(&wishes, pid, sockets) {
            tracing::error!(container = %container.id, error = %e, "it is told no names");
        }
    }

    /// As [`Containers::serve_names`], of a container that an earlier daemon has started. Its shim has the sockets, also when
    /// it has left the network that it has them for: its resolver asks there.
    pub(super) async fn resume_names(&self, container: &Container, held: Option<Sockets>) {
        if self.inner.networks.serves_names(&container.id) {
            return;
        }
        let Some(pid) = container.state().run().map(|r| r.pid) else {
            return;
        };
        // One that has none was on no such network at its start.
        let endpoints = container.view().life.endpoints.clone();
        let wanted = endpoints.iter().any(|e| e.network != BRIDGE);
        let sockets = match held {
            Some(sockets) => Ok(sockets),
            None if !wanted => return,
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
}

/// Whether a file was last written before this instant, in nanoseconds since the epoch.
fn written_before(path: &Path, instant: i64) -> bool {
    File::open(path)
        .and_then(|file| file.metadata())
        .is_ok_and(|m| {
            m.mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(m.mtime_nsec())
                < instant
        })
}
