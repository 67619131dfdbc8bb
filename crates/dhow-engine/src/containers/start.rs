//! Starting a container: its place in the network, its specification, one message to the spawner. What
//! fails half way is undone, and the container says why it did not start.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use dhow_runtime::protocol::{AttachStreams, LogSink, Rootfs, StartError, StartRequest};

use super::{records, user, validate};
use crate::containers::container::{Container, EndpointRecord};
use crate::containers::definition::{Definition, MountKind};
use crate::containers::spec::{self, Shared, SpecInput};
use crate::containers::state::Event;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::networks::sandbox::Sandbox;
use crate::rootfs::LayeredRoot;

/// How long the shim of the last run may take to clear away.
const SHIM_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Who asks for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    User,
    /// The restart policy, which is asked again should the start fail.
    Policy,
}

/// What a start that failed is known by to a client: Docker's command line takes its exit code from these
/// words.
fn start_error(error: &StartError) -> EngineError {
    let exit_code = match error {
        StartError::NotFound(_) => 127,
        StartError::NotExecutable(_) => 126,
        StartError::Other(_) => 128,
    };
    EngineError::Start {
        exit_code,
        message: format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {error}: unknown"
        ),
    }
}

impl Engine {
    pub async fn start(&self, name: &str) -> Result<()> {
        let container = self.inner.containers.find(name)?;
        let _ops = container.ops.lock().await;
        self.start_locked(&container, Cause::User).await?;
        // A start by hand begins a new count.
        let mut view = container.view();
        view.life.restart_count = 0;
        view.backoff = Default::default();
        Ok(())
    }

    /// The caller holds the container's operation lock.
    pub(crate) async fn start_locked(
        &self,
        container: &Arc<Container>,
        cause: Cause,
    ) -> Result<()> {
        if container.watch().borrow().removed {
            return Err(EngineError::NotFound(format!(
                "No such container: {}",
                container.id
            )));
        }
        container.apply(Event::Start)?;
        let keeper = container.view().keeper.take();
        if let Some(keeper) = keeper
            && tokio::time::timeout(SHIM_PATIENCE, keeper).await.is_err()
        {
            tracing::warn!(container = %container.id, "the last run's shim does not end");
        }
        let sandbox = match self.enter(container).await {
            Ok(sandbox) => sandbox,
            Err(e) => return Err(self.start_failed(container, cause, None, e).await),
        };
        self.network_event(container, "connect");
        let endpoint = sandbox.endpoint.clone();
        match self.launch(container, sandbox).await {
            Ok(()) => Ok(()),
            Err(e) => Err(self.start_failed(container, cause, endpoint, e).await),
        }
    }

    async fn start_failed(
        &self,
        container: &Arc<Container>,
        cause: Cause,
        endpoint: Option<EndpointRecord>,
        error: EngineError,
    ) -> EngineError {
        if let Some(endpoint) = endpoint {
            self.leave(&endpoint).await;
            self.network_event(container, "disconnect");
        }
        let exit_code = match &error {
            EngineError::Start { exit_code, .. } => *exit_code,
            _ => 128,
        };
        let definition = container.definition();
        let restart = {
            let mut view = container.view();
            view.life.endpoint = None;
            // Clients that attached for this start see the end of their streams.
            view.pending.clear();
            cause == Cause::Policy
                && !self.inner.closing.is_cancelled()
                && definition
                    .restart_policy()
                    .unwrap_or_default()
                    .wants(exit_code, view.life.restart_count)
        };
        if let Err(refusal) = container.transition(Event::StartFailed {
            exit_code,
            error: error.to_string(),
            at: dhow_api::time::now(),
            restart,
        }) {
            tracing::error!(container = %container.id, ?refusal, "a failed start found an unexpected state");
        }
        self.save_or_log(container).await;
        self.container_event(
            container,
            "die",
            &[("exitCode", &exit_code.to_string()), ("execDuration", "0")],
        );
        if definition.host_config.auto_remove {
            self.remove_after_exit(container.clone());
        }
        error
    }

    async fn launch(&self, container: &Arc<Container>, sandbox: Sandbox) -> Result<()> {
        let definition = container.definition();
        // Of the last run: a crash before the shim has begun would take it for this one's.
        dhow_runtime::record::remove_exit_record(&container.dir)
            .map_err(EngineError::io("removing the last run's exit record"))?;
        self.write_etc_files(container, sandbox.endpoint.as_ref())?;
        make_bind_sources(&definition)?;
        self.check_subpaths(&definition)?;
        // A named volume that was removed by hand comes back empty.
        for (name, anonymous) in definition.volumes() {
            self.ensure_volume(name, Default::default(), anonymous)
                .await?;
        }
        let request = self.start_request(container, &definition, &sandbox)?;

        // Before the process exists, so that a crash in between leaks neither address nor port.
        container.view().life.endpoint = sandbox.endpoint;
        records::save_life(&self.inner.store, container).await?;

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
            .start(request, sandbox.netns, fds, sandbox.holders)
            .await
            .map_err(|e| start_error(&e))?;
        for warning in &started.warnings {
            tracing::warn!(container = %container.id, "{warning}");
        }
        container.view().shim = Some(shim.clone());
        container.apply(Event::Started {
            pid: started.pid,
            at: started.started_at,
        })?;
        self.container_event(container, "start", &[]);
        self.watch_health(container, &shim);
        self.keep(container.clone(), shim);
        // A crash before this is written finds the process by its shim.
        let (engine, container) = (self.clone(), container.clone());
        self.inner
            .tasks
            .spawn(async move { engine.save_or_log(&container).await });
        Ok(())
    }

    pub(crate) async fn save_or_log(&self, container: &Arc<Container>) {
        if let Err(e) = records::save_life(&self.inner.store, container).await {
            tracing::error!(container = %container.id, error = %e, "its state could not be stored");
        }
    }

    /// A volume's content is its containers': a link in it must not lead out of it.
    fn check_subpaths(&self, definition: &Definition) -> Result<()> {
        for mount in &definition.mounts {
            let MountKind::Volume { name, subpath, .. } = &mount.kind else {
                continue;
            };
            if subpath.is_empty() {
                continue;
            }
            let root = self.inner.volumes.data_dir(name);
            let failed = |e: rustix::io::Errno| {
                EngineError::invalid(format!(
                    "cannot access path {subpath} of volume {name}: {e}"
                ))
            };
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            let none = rustix::fs::Mode::empty();
            let data = rustix::fs::open(&root, flags, none).map_err(failed)?;
            rustix::fs::openat2(
                &data,
                subpath.as_str(),
                flags,
                none,
                rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS,
            )
            .map_err(failed)?;
        }
        Ok(())
    }

    /// The image's layers, topmost first.
    pub(crate) fn lower_dirs(&self, container: &Container) -> Vec<PathBuf> {
        let view = container.view();
        view.pin
            .as_ref()
            .map(|p| p.lower_dirs())
            .unwrap_or_default()
    }

    /// Reads the user database as the container sees it.
    pub(crate) fn resolve_user(
        &self,
        container: &Container,
        user: &str,
        group_add: &[String],
    ) -> Result<user::ResolvedUser> {
        let mut layers = vec![container.upper_dir()];
        layers.extend(self.lower_dirs(container));
        let root = LayeredRoot::new(layers);
        let read = |path: &str| {
            root.read(path)
                .map(Option::unwrap_or_default)
                .map_err(EngineError::io(format!("reading {path} in the container")))
        };
        user::resolve(user, group_add, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    fn start_request(
        &self,
        container: &Container,
        definition: &Definition,
        sandbox: &Sandbox,
    ) -> Result<StartRequest> {
        let (config, host) = (&definition.config, &definition.host_config);
        let user = self.resolve_user(
            container,
            &config.user,
            host.group_add.as_deref().unwrap_or_default(),
        )?;
        let shared = Shared {
            pid_of: match host.pid_mode.strip_prefix("container:") {
                Some(other) => Some(self.pid_of(other)?),
                None => None,
            },
        };
        let spec = spec::generate(&SpecInput {
            id: container.id.as_str(),
            definition,
            host: &self.inner.host,
            user: &user,
            files: &container.etc_files(),
            volumes_dir: self.inner.volumes.dir(),
            shared,
        })?;
        let log = match host.log_config.kind.as_str() {
            "none" => LogSink::None,
            _ => {
                let (max_size, max_file) = validate::log_limits(&host.log_config)?;
                LogSink::JsonFile {
                    path: container.log_path(),
                    max_size,
                    max_file,
                }
            }
        };
        let size = host.console_size;
        Ok(StartRequest {
            id: container.id.to_string(),
            bundle: container.dir.clone(),
            runtime_dir: self.inner.config.exec_root.clone(),
            spec,
            rootfs: Rootfs::Overlay {
                lower: self.lower_dirs(container),
                upper: container.upper_dir(),
                work: container.work_dir(),
            },
            has_netns: sandbox.netns.is_some(),
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            log,
            attach: Vec::new(),
            held_fds: sandbox.holders.len(),
            init: host.init.unwrap_or(false),
            sync_exit: !host.auto_remove,
            tty_size: match size {
                [0, _] | [_, 0] => None,
                [rows, cols] => Some((
                    u16::try_from(rows).unwrap_or(u16::MAX),
                    u16::try_from(cols).unwrap_or(u16::MAX),
                )),
            },
        })
    }

    fn pid_of(&self, name: &str) -> Result<u32> {
        let other = self.inner.containers.find(name)?;
        other.state().run().map(|r| r.pid).ok_or_else(|| {
            EngineError::Conflict(format!(
                "cannot join PID namespace of a non running container: container {} is {}",
                other.id,
                other.state().status()
            ))
        })
    }
}

/// `-v` makes a host directory that is not there; `--mount` does not.
fn make_bind_sources(definition: &Definition) -> Result<()> {
    for mount in &definition.mounts {
        let MountKind::Bind { source, create } = &mount.kind else {
            continue;
        };
        let path = std::path::Path::new(source);
        if path.exists() {
            continue;
        }
        if !create {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            )));
        }
        std::fs::create_dir_all(path).map_err(|e| {
            EngineError::invalid(format!(
                "error while creating mount source path '{source}': {e}"
            ))
        })?;
    }
    Ok(())
}
