//! Starting a container: its place in the network, its specification, one message to the spawner. What
//! fails half way is undone, and the container says why it did not start.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::protocol::{AttachStreams, StartRequest};
use dhow_runtime::{Handed, Shim, Started};
use tokio_util::sync::CancellationToken;

use super::container::Container;
use super::create::with_init_layer;
use super::definition::Definition;
use super::partners::Partners;
use super::prepare::{check_propagation, make_bind_sources};
use super::state::Event;
use super::{Containers, Notice, logging};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::networks::{EndpointRecord, NetworkMode, Sandbox};

/// How long the shim of the last run may take to clear away.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// How long a start waits for those who copy files out of a container, or into it, before it cuts them off.
const COPY_PATIENCE: Duration = Duration::from_secs(10);

/// Who asks for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    User,
    /// The restart policy, which is asked again should the start fail.
    Policy,
}

const FAILED: &str =
    "failed to create task for container: failed to create shim task: OCI runtime create failed";

impl Containers {
    pub async fn start(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _ops = container.ops.lock().await;
        self.start_locked(&container, Cause::User).await?;
        // A start by hand begins a new count.
        let mut view = container.view();
        view.life.restart_count = 0;
        view.backoff = Default::default();
        Ok(())
    }

    /// The caller holds the container's operation lock.
    pub async fn start_locked(&self, container: &Arc<Container>, cause: Cause) -> Result<()> {
        if container.watch().borrow().removed {
            return Err(EngineError::NoSuchContainer(container.id.to_string()));
        }
        container.turn().await.apply(Event::Start)?;
        container.view().life.failed_health = false;
        let cleared = container.view().cleared.take();
        if let Some(cleared) = cleared
            && tokio::time::timeout(SHIM_PATIENCE, cleared.cancelled())
                .await
                .is_err()
        {
            tracing::warn!(container = %container.id, "the last run's shim does not end");
        }
        // Its root filesystem must not be mounted twice.
        container.views.end(COPY_PATIENCE).await;
        if let Err(e) = self.clear_last_run(container).await {
            return Err(self.start_failed(container, cause, &[], e).await);
        }
        let definition = container.definition();
        let sandbox = match self.enter(container, &definition).await {
            Ok(sandbox) => sandbox,
            Err(e) => return Err(self.start_failed(container, cause, &[], e).await),
        };
        self.tell_volumes(container, "mount");
        self.tell_networks(container, &sandbox.endpoints, "connect");
        let endpoints = sandbox.endpoints.clone();
        match self.launch(container, sandbox).await {
            Ok(()) => Ok(()),
            Err(e) => {
                self.tell_volumes(container, "unmount");
                Err(self.start_failed(container, cause, &endpoints, e).await)
            }
        }
    }

    /// No second process starts beside what an earlier run may have left.
    async fn clear_last_run(&self, container: &Container) -> Result<()> {
        let cgroup = self.cgroup(container)?;
        let failed = |source| EngineError::Leftovers {
            container: container.id.clone(),
            source,
        };
        if cgroup.pids().map_err(failed)?.is_empty() {
            return Ok(());
        }
        tracing::warn!(container = %container.id, "processes of its last run are ended");
        blocking(move || cgroup.kill()).await?.map_err(failed)
    }

    /// Its place in the network; another container's namespace is asked of that container.
    async fn enter(&self, container: &Container, definition: &Definition) -> Result<Sandbox> {
        if let NetworkMode::Container(name) = definition.network_mode() {
            return Ok(Sandbox {
                netns: Some(self.namespace_of(&*self.find(&name)?)?),
                ..Sandbox::default()
            });
        }
        let name = container.name();
        self.inner
            .networks
            .enter(&definition.wishes(&container.id, &name))
            .await
    }

    fn namespace_of(&self, other: &Container) -> Result<OwnedFd> {
        let state = other.state();
        let Some(pid) = state.run().map(|r| r.pid) else {
            return Err(EngineError::CannotJoin {
                namespace: "network",
                container: other.id.clone(),
                status: state.status(),
            });
        };
        let path = format!("/proc/{pid}/ns/net");
        let file = std::fs::File::open(&path).map_err(EngineError::io(path))?;
        Ok(file.into())
    }

    /// Tells that a container has come to its networks, or left them.
    pub fn tell_networks(&self, container: &Container, endpoints: &[EndpointRecord], action: &str) {
        let keys: Vec<&str> = match container.definition().network_mode() {
            NetworkMode::Host => vec!["host"],
            NetworkMode::None => vec!["none"],
            _ => endpoints.iter().map(|e| e.network.as_str()).collect(),
        };
        self.inner
            .networks
            .tell(container.id.as_str(), keys, action);
    }

    async fn start_failed(
        &self,
        container: &Arc<Container>,
        cause: Cause,
        endpoints: &[EndpointRecord],
        error: EngineError,
    ) -> EngineError {
        if !endpoints.is_empty() {
            self.inner.networks.leave(&container.id, endpoints).await;
            self.tell_networks(container, endpoints, "disconnect");
        }
        // A shim undoes a start that fails; one that was killed does not.
        if let Err(e) = self.clear(container).await {
            tracing::warn!(container = %container.id, error = %e, "what is left of its start can't be cleared away");
        }
        self.unmount_volumes(container).await;
        let exit_code = match &error {
            EngineError::Start { exit_code, .. } => *exit_code,
            _ => 128,
        };
        let definition = container.definition();
        let restart = {
            let mut view = container.view();
            view.life.endpoints.clear();
            // Clients that attached for this start see the end of their streams.
            view.pending.clear();
            cause == Cause::Policy
                && !self.inner.background.is_closing()
                && definition
                    .restart_policy()
                    .unwrap_or_default()
                    .wants(exit_code, view.life.restart_count)
        };
        let failed = container.turn().await.transition(Event::StartFailed {
            exit_code,
            error: error.to_string(),
            at: dhow_api::time::now(),
            restart,
        });
        if let Err(refusal) = failed {
            tracing::error!(container = %container.id, ?refusal, "a failed start found an unexpected state");
        }
        self.save(container).await;
        self.tell(
            container,
            "die",
            &[("exitCode", &exit_code.to_string()), ("execDuration", "0")],
        );
        if definition.host_config.auto_remove {
            self.inner.notices.send(Notice::Spent(container.clone()));
        }
        error
    }

    async fn launch(&self, container: &Arc<Container>, sandbox: Sandbox) -> Result<()> {
        let definition = container.definition();
        // Of the last run: a crash before the shim has begun would take it for this one's.
        dhow_runtime::record::remove_exit_record(&container.dir)
            .map_err(EngineError::io("removing the last run's exit record"))?;
        self.write_etc_files(container, &sandbox.endpoints)?;
        if definition.has_binds() {
            // A path of the host's may be one that does not answer.
            let definition = definition.clone();
            blocking(move || {
                make_bind_sources(&definition)?;
                check_propagation(&definition)
            })
            .await??;
        }
        self.ensure_volumes(&definition).await?;
        self.mount_volumes(container).await?;
        self.check_subpaths(&definition).await?;
        self.ensure_init_layer(container).await?;
        let Partners { shared, joined } = self.partners(&definition).await?;
        self.ensure_profile(&definition).await?;
        let edits = self.device_edits(&definition).await?;
        let mut request = self.start_request(container, &definition, &sandbox, shared, &edits)?;
        logging::look_up(container.id.as_str(), &mut request.log).await;

        // Before the process exists, so that a crash in between leaks neither address nor port.
        {
            let turn = container.turn().await;
            container.view().life.endpoints = sandbox.endpoints;
            turn.save(&self.inner.store).await?;
        }

        let (streams, fds): (Vec<AttachStreams>, Vec<OwnedFd>) =
            std::mem::take(&mut container.view().pending)
                .into_iter()
                .unzip();
        let request = StartRequest {
            attach: streams,
            ..request
        };
        let (shim, started) = self
            .inner
            .spawner
            .start(
                request,
                Handed {
                    netns: sandbox.netns,
                    joined,
                    attach: fds,
                    held: sandbox.holders,
                },
            )
            .await
            .map_err(|e| EngineError::start(FAILED, &e))?;
        for warning in &started.warnings {
            tracing::warn!(container = %container.id, "{warning}");
        }
        container.view().shim = Some(shim.clone());
        if let Some(sockets) = sandbox.names {
            self.serve_names(container, started.pid, sockets);
        }
        container.turn().await.apply(Event::Started {
            pid: started.pid,
            at: started.started_at,
        })?;
        self.tell_linked(container).await;
        self.tell(container, "start", &[]);
        self.watch(container, Some(shim));
        // A crash before this is written finds the process by its shim.
        let (containers, container) = (self.clone(), container.clone());
        self.inner
            .background
            .spawn(async move { containers.save(&container).await });
        Ok(())
    }

    /// A container that was made before there were init layers, or whose layers were lost and unpacked again.
    pub(super) async fn ensure_init_layer(&self, container: &Container) -> Result<()> {
        let missing = {
            let view = container.view();
            let pin = view.pin.as_ref().filter(|pin| pin.init_layer().is_none());
            pin.and_then(|pin| pin.top().cloned())
        };
        if let Some(top) = missing {
            with_init_layer(self.inner.images.pin_chain(&top)?).await?;
        }
        Ok(())
    }

    /// A process that an earlier daemon has started, or whose shim was lost for a while.
    pub async fn resume(&self, container: &Arc<Container>, shim: &Shim, started: &Started) {
        container.view().shim = Some(shim.clone());
        let resumed = container.turn().await.transition(Event::Started {
            pid: started.pid,
            at: started.started_at,
        });
        if let Err(refusal) = resumed {
            tracing::error!(container = %container.id, ?refusal, "a running process was not expected");
        }
    }

    /// Has the supervisor watch over a process that runs. Without a shim, that could not be reached.
    pub fn watch(&self, container: &Arc<Container>, shim: Option<Shim>) {
        container.view().cleared = Some(CancellationToken::new());
        let container = container.clone();
        self.inner.notices.send(match shim {
            Some(shim) => Notice::Started(container, shim),
            None => Notice::Unreachable(container),
        });
    }
}
