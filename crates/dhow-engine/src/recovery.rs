//! Start-up is recovery: every container in the store is reconnected to its shim, or its end is taken over,
//! and what an earlier daemon left half done is finished or removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dhow_net::LiveEndpoint;
use dhow_runtime::cgroup::Cgroup;
use dhow_runtime::{Shim, Started, read_exit_record};

use crate::background::Background;
use crate::containers::container::Container;
use crate::containers::records::{self, StoredContainer};
use crate::containers::restart::RestartPolicy;
use crate::containers::spec::cgroup_path;
use crate::containers::start::Cause;
use crate::containers::state::{Event, State};
use crate::containers::{Containers, Notice, Notices};
use crate::error::{EngineError, Result};
use crate::supervisor::{Supervisor, read_record_or_lost};

/// What was found at the start, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub containers: usize,
    /// Running on under their shims.
    pub reconnected: usize,
    /// Ended while no daemon was there, with their exit codes known.
    pub ended: usize,
    /// Ended with the host, or without a record.
    pub lost: usize,
    /// Starts that had begun and had not come to a process.
    pub unstarted: usize,
    /// Removals finished.
    pub removed: usize,
    /// To be started by their restart policies.
    pub restarting: usize,
    /// Directories without a record, and deletions that were cut short.
    pub trashed: usize,
}

/// How long a shim may take to answer, and to finish a start that it has begun.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);
const SHIM_PAUSE: Duration = Duration::from_millis(20);

/// The endpoints that may still be in use, for the network to take over.
pub fn live_endpoints(stored: &[StoredContainer]) -> Vec<LiveEndpoint> {
    stored
        .iter()
        .filter_map(|c| c.life.endpoint.as_ref()?.live(&c.name))
        .collect()
}

enum Found {
    Running,
    Ended,
    Lost,
    Unstarted,
    Idle,
}

/// Takes over what an earlier daemon has left, once.
pub struct Recovery {
    containers: Containers,
    supervisor: Supervisor,
    notices: Notices,
    background: Background,
}

impl Recovery {
    pub fn new(
        containers: Containers,
        supervisor: Supervisor,
        notices: Notices,
        background: Background,
    ) -> Recovery {
        Recovery {
            containers,
            supervisor,
            notices,
            background,
        }
    }

    pub async fn run(&self, stored: Vec<StoredContainer>) -> Result<RecoveryReport> {
        let mut report = RecoveryReport {
            containers: stored.len(),
            ..RecoveryReport::default()
        };
        let known: HashSet<String> = stored.iter().map(|c| c.id.to_string()).collect();
        let containers: Vec<Arc<Container>> = stored
            .into_iter()
            .map(|c| self.containers.register(c))
            .collect::<Result<_>>()?;
        report.trashed += self.remove_strays(&known)?;

        let mut boot = Vec::new();
        for container in &containers {
            let before = container.state();
            if let State::Removing(_) | State::Dead(_) = before {
                self.finish_removal(container).await?;
                report.removed += 1;
                continue;
            }
            match self.take_over(container, &before).await {
                Found::Running => report.reconnected += 1,
                Found::Ended => report.ended += 1,
                Found::Lost => report.lost += 1,
                Found::Unstarted => report.unstarted += 1,
                Found::Idle => {}
            }
            boot.push((container.clone(), before));
        }
        for (container, before) in boot {
            if self.restart_at_boot(&container, &before) {
                report.restarting += 1;
            }
        }
        tracing::info!(
            containers = report.containers,
            reconnected = report.reconnected,
            ended = report.ended,
            lost = report.lost,
            unstarted = report.unstarted,
            removed = report.removed,
            restarting = report.restarting,
            trashed = report.trashed,
            "took over the data-root"
        );
        Ok(report)
    }

    /// Finds out what became of a container while no daemon was there.
    async fn take_over(&self, container: &Arc<Container>, before: &State) -> Found {
        let may_run = !matches!(before, State::Created(_) | State::Exited(_))
            || self.socket_exists(container);
        if may_run {
            match self.reach_shim(container).await {
                Ok((shim, Some(started))) => {
                    container.view().shim = Some(shim.clone());
                    let resumed = container.transition(Event::Started {
                        pid: started.pid,
                        at: started.started_at,
                    });
                    if let Err(refusal) = resumed {
                        tracing::error!(container = %container.id, ?refusal, "a running process was not expected");
                    }
                    self.containers.watch(container, shim);
                    self.containers.save(container).await;
                    return Found::Running;
                }
                // It does not come to an exec: its daemon ended in the middle, and nobody knows of it.
                Ok((shim, None)) => drop(shim),
                Err(e) => {
                    tracing::debug!(container = %container.id, error = %e, "no shim");
                }
            }
        }
        let record = match read_exit_record(&container.dir) {
            Ok(record) => record,
            Err(e) => {
                tracing::error!(container = %container.id, error = %e, "its exit record can't be read");
                None
            }
        };
        match (before, record) {
            (State::Running(_) | State::Paused(_) | State::Starting(_), Some(record)) => {
                self.clear_cgroup(container);
                self.supervisor.ended(container, &record).await;
                Found::Ended
            }
            (State::Running(_) | State::Paused(_), None) => {
                self.clear_cgroup(container);
                let record = read_record_or_lost(container);
                self.supervisor.ended(container, &record).await;
                Found::Lost
            }
            (State::Starting(_), None) => {
                self.clear_cgroup(container);
                let endpoint = container.view().life.endpoint.take();
                if let Some(endpoint) = endpoint {
                    self.containers.networks().leave(&endpoint).await;
                }
                let definition = container.definition();
                let policy = definition.restart_policy().unwrap_or_default();
                let count = container.view().life.restart_count;
                match container.transition(Event::StartFailed {
                    exit_code: 128,
                    error: "the daemon ended while the container was being started".into(),
                    at: dhow_api::time::now(),
                    restart: policy.wants(128, count),
                }) {
                    Ok(State::Restarting(_)) => {
                        self.notices
                            .send(Notice::Restart(container.clone(), Duration::ZERO));
                    }
                    Ok(_) => {}
                    Err(refusal) => {
                        tracing::error!(container = %container.id, ?refusal, "a cut-off start found an unexpected state");
                    }
                }
                self.containers.save(container).await;
                if definition.host_config.auto_remove {
                    self.notices.send(Notice::Spent(container.clone()));
                }
                Found::Unstarted
            }
            _ => {
                // A container of `--rm` whose removal was cut off before it began.
                if container.definition().host_config.auto_remove
                    && matches!(before, State::Exited(_))
                {
                    self.notices.send(Notice::Spent(container.clone()));
                }
                Found::Idle
            }
        }
    }

    /// Connects to a shim, and gives one that is just starting its container the time to do so.
    async fn reach_shim(&self, container: &Container) -> std::io::Result<(Shim, Option<Started>)> {
        let deadline = tokio::time::Instant::now() + SHIM_PATIENCE;
        loop {
            let connecting =
                Shim::connect(&self.containers.settings().exec_root, container.id.as_str());
            let connected = tokio::time::timeout_at(deadline, connecting)
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            if connected.1.is_some() || tokio::time::Instant::now() >= deadline {
                return Ok(connected);
            }
            drop(connected);
            tokio::time::sleep(SHIM_PAUSE).await;
        }
    }

    fn socket_exists(&self, container: &Container) -> bool {
        self.containers
            .settings()
            .exec_root
            .join(format!("{}.sock", container.id))
            .exists()
    }

    /// Nothing of a container whose shim is gone may run on.
    fn clear_cgroup(&self, container: &Container) {
        let cleared = self
            .containers
            .cgroup(container)
            .and_then(|cgroup| end_cgroup(&cgroup).map_err(EngineError::io("cgroup")));
        if let Err(e) = cleared {
            tracing::warn!(container = %container.id, error = %e, "its cgroup could not be removed");
        }
    }

    /// Restart policies at the daemon's start: what was running when the host went down comes back.
    fn restart_at_boot(&self, container: &Arc<Container>, before: &State) -> bool {
        let state = container.state();
        match &state {
            State::Restarting(_) if matches!(before, State::Restarting(_)) => {
                self.notices
                    .send(Notice::Restart(container.clone(), Duration::ZERO));
                true
            }
            // Its end was found just now, and the policy has been asked.
            State::Restarting(_) => true,
            State::Exited(ended) if matches!(before, State::Exited(_)) => {
                let definition = container.definition();
                let policy = definition.restart_policy().unwrap_or_default();
                let count = container.view().life.restart_count;
                let wants = ended.started_at != 0
                    && policy == RestartPolicy::Always
                    && policy.wants_at_boot(ended.by_user, ended.exit_code, count);
                if wants {
                    let (containers, container) = (self.containers.clone(), container.clone());
                    self.background.spawn(async move {
                        let _ops = container.ops.lock().await;
                        if let Err(e) = containers.start_locked(&container, Cause::User).await {
                            tracing::warn!(container = %container.id, error = %e, "it could not be started");
                        }
                    });
                }
                wants
            }
            _ => false,
        }
    }

    async fn finish_removal(&self, container: &Arc<Container>) -> Result<()> {
        self.clear_cgroup(container);
        records::delete_container(
            self.containers.store(),
            &container.id,
            dhow_store::Durability::Process,
        )
        .await?;
        self.containers
            .trash()
            .discard(&container.dir)
            .map_err(EngineError::io(container.dir.display()))?;
        self.containers.forget(container);
        container.set_removed();
        Ok(())
    }

    /// Directories that no record knows: a creation or removal that was cut off.
    fn remove_strays(&self, known: &HashSet<String>) -> Result<usize> {
        let mut strays = 0;
        let dir = &self.containers.settings().dir;
        let entries = std::fs::read_dir(dir).map_err(EngineError::io(dir.display()))?;
        for entry in entries {
            let entry = entry.map_err(EngineError::io(dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name) {
                self.stop_stray(&name);
                self.containers
                    .trash()
                    .discard(&entry.path())
                    .map_err(EngineError::io(entry.path().display()))?;
                strays += 1;
            }
        }
        Ok(strays)
    }

    /// A process whose record is gone was being removed by force.
    fn stop_stray(&self, id: &str) {
        let path = cgroup_path(id, "");
        if let Err(e) = Cgroup::open(&path).and_then(|cgroup| end_cgroup(&cgroup)) {
            tracing::warn!(container = id, error = %e, "a stray cgroup could not be removed");
        }
    }
}

/// Ends all that is in a group, and the group.
fn end_cgroup(cgroup: &Cgroup) -> std::io::Result<()> {
    cgroup.kill()?;
    cgroup.remove()
}
