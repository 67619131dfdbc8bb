//! Start-up is recovery: every container in the store is reconnected to its shim, or its end is taken over,
//! and what an earlier daemon left half done is finished or removed.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dhow_runtime::client::{Reach, reach};
use dhow_runtime::read_exit_record;

use crate::background::Background;
use crate::containers::container::Container;
use crate::containers::records::{self, StoredContainer};
use crate::containers::restart::RestartPolicy;
use crate::containers::start::Cause;
use crate::containers::state::{Event, State};
use crate::containers::{Containers, Notice, Notices};
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::networks::Live;
use crate::supervisor::{Supervisor, end};

/// What was found at the start, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub containers: usize,
    /// Running on under their shims.
    pub reconnected: usize,
    /// Running as far as is known: their shims don't answer.
    pub unreachable: usize,
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

/// The containers whose endpoints may still be in use, for the networks to take over.
pub fn live(stored: &[StoredContainer]) -> Vec<Live<'_>> {
    let live = stored.iter().filter(|c| !c.life.endpoints.is_empty());
    live.map(|c| Live {
        wishes: c.definition.wishes(&c.id, &c.name),
        endpoints: &c.life.endpoints,
    })
    .collect()
}

enum Found {
    Running,
    Unreachable,
    Ended,
    Lost,
    Unstarted,
    Removed,
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
        report.trashed += self.remove_strays(&known).await?;

        // All at once: one whose shim does not answer keeps no other waiting.
        let taking = containers.iter().map(|container| async move {
            let before = container.state();
            if let State::Removing(_) | State::Dead(_) = before {
                self.finish_removal(container).await?;
                return Ok::<_, EngineError>((container, before, Found::Removed));
            }
            let found = self.take_over(container, &before).await;
            Ok((container, before, found))
        });
        let mut boot = Vec::new();
        for taken in futures_util::future::join_all(taking).await {
            let (container, before, found) = taken?;
            match found {
                Found::Running => report.reconnected += 1,
                Found::Unreachable => report.unreachable += 1,
                Found::Ended => report.ended += 1,
                Found::Lost => report.lost += 1,
                Found::Unstarted => report.unstarted += 1,
                Found::Removed => report.removed += 1,
                Found::Idle => {}
            }
            if !matches!(found, Found::Removed) {
                boot.push((container.clone(), before));
            }
        }
        self.containers.volumes().unmount_leftovers().await;
        report.restarting = self.restart_at_boot(&boot);
        tracing::info!(
            containers = report.containers,
            reconnected = report.reconnected,
            unreachable = report.unreachable,
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
                Ok(Reach::Connected(shim, started)) => {
                    self.containers.keep_volumes_mounted(container).await;
                    self.containers.resume(container, &shim, &started).await;
                    self.containers.resume_held(container, &shim).await;
                    self.containers.restore_freezer(container).await;
                    self.containers.watch(container, Some(shim));
                    self.containers.save(container).await;
                    if container.view().life.failed_health {
                        let run = started.started_at;
                        self.notices.send(Notice::Unhealthy(container.clone(), run));
                    }
                    return Found::Running;
                }
                // It does not come to an exec: its daemon ended in the middle, and nobody knows of it.
                Ok(Reach::Starting | Reach::Gone) => {}
                Err(e) => {
                    tracing::warn!(container = %container.id, error = %e, "its shim can't be reached");
                    self.containers.keep_volumes_mounted(container).await;
                    self.containers.watch(container, None);
                    return Found::Unreachable;
                }
            }
        }
        let is_over = !matches!(
            before,
            State::Running(_) | State::Paused(_) | State::Starting(_)
        );
        if is_over {
            self.give_back_endpoints(container).await;
            if may_run && let Err(e) = self.containers.clear(container).await {
                tracing::warn!(container = %container.id, error = %e, "what its shim has left can't be cleared away");
            }
            // A container of `--rm` whose removal was cut off before it began.
            if container.definition().host_config.auto_remove && matches!(before, State::Exited(_))
            {
                self.notices.send(Notice::Spent(container.clone()));
            }
            return Found::Idle;
        }
        // A shim that was killed leaves its socket; a host that went down leaves none.
        let there = self.socket_exists(container);
        let ran = match self.containers.clear(container).await {
            Ok(ran) => ran,
            Err(e) => {
                tracing::error!(container = %container.id, error = %e, "what its shim has left running can't be ended");
                self.containers.keep_volumes_mounted(container).await;
                self.containers.watch(container, None);
                return Found::Unreachable;
            }
        };
        let record = read_exit_record(&container.dir);
        match (before, record) {
            (_, Ok(Some(record))) => {
                self.supervisor.ended(container, &record).await;
                Found::Ended
            }
            (State::Starting(_), Ok(None)) => {
                self.give_up_start(container).await;
                Found::Unstarted
            }
            (_, Ok(None) | Err(_)) => {
                let record = end::record_or(container, ran || there);
                self.supervisor.ended(container, &record).await;
                Found::Lost
            }
        }
    }

    /// Of a container that does not run.
    async fn give_back_endpoints(&self, container: &Arc<Container>) {
        let endpoints = std::mem::take(&mut container.view().life.endpoints);
        if !endpoints.is_empty() {
            let networks = self.containers.networks();
            networks.leave(&container.id, &endpoints).await;
            self.containers.save(container).await;
        }
    }

    /// A start that came to no process before its daemon ended.
    async fn give_up_start(&self, container: &Arc<Container>) {
        self.give_back_endpoints(container).await;
        self.containers.unmount_volumes(container).await;
        let definition = container.definition();
        let policy = definition.restart_policy().unwrap_or_default();
        let count = container.view().life.restart_count;
        let failed = container.turn().await.transition(Event::StartFailed {
            exit_code: 128,
            error: "the daemon ended while the container was being started".into(),
            at: dhow_api::time::now(),
            restart: policy.wants(128, count),
        });
        match failed {
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
    }

    /// Connects to a shim, and gives one that is just starting its container the time to do so.
    async fn reach_shim(&self, container: &Container) -> std::io::Result<Reach> {
        let deadline = tokio::time::Instant::now() + SHIM_PATIENCE;
        loop {
            let exec_root = &self.containers.settings().exec_root;
            let reached =
                tokio::time::timeout_at(deadline, reach(exec_root, container.id.as_str()))
                    .await
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
            let is_starting = matches!(reached, Reach::Starting);
            if !is_starting || tokio::time::Instant::now() >= deadline {
                return Ok(reached);
            }
            drop(reached);
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

    /// Restart policies at the daemon's start: what was running when the host went down comes back. Tells how many.
    fn restart_at_boot(&self, found: &[(Arc<Container>, State)]) -> usize {
        let mut restarting = 0;
        let mut to_start = Vec::new();
        for (container, before) in found {
            match container.state() {
                State::Restarting(_) => {
                    // Where its end was found just now, the policy has been asked.
                    if matches!(before, State::Restarting(_)) {
                        self.notices
                            .send(Notice::Restart(container.clone(), Duration::ZERO));
                    }
                    restarting += 1;
                }
                State::Exited(ended) if matches!(before, State::Exited(_)) => {
                    let definition = container.definition();
                    let policy = definition.restart_policy().unwrap_or_default();
                    let count = container.view().life.restart_count;
                    if ended.started_at != 0
                        && policy == RestartPolicy::Always
                        && policy.wants_at_boot(ended.by_user, ended.exit_code, count)
                    {
                        to_start.push(container.clone());
                    }
                }
                _ => {}
            }
        }
        let coming: HashSet<ContainerId> = to_start.iter().map(|c| c.id.clone()).collect();
        let coming = Arc::new(Mutex::new(coming));
        restarting += to_start.len();
        for container in to_start {
            let (containers, coming) = (self.containers.clone(), coming.clone());
            let background = self.background.clone();
            self.background.spawn(async move {
                let is_coming = |id: &ContainerId| lock(&coming).contains(id);
                tokio::select! {
                    () = background.closing() => return,
                    () = containers.await_partners(&container, is_coming) => {}
                }
                let _ops = container.ops.lock().await;
                if let Err(e) = containers.start_locked(&container, Cause::User).await {
                    tracing::warn!(container = %container.id, error = %e, "it could not be started");
                }
                lock(&coming).remove(&container.id);
            });
        }
        restarting
    }

    async fn finish_removal(&self, container: &Arc<Container>) -> Result<()> {
        if let Err(e) = self.containers.clear(container).await {
            tracing::warn!(container = %container.id, error = %e, "its cgroup could not be removed");
        }
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

    /// What no record knows: directories of creations or removals that were cut off, and what is left of shims.
    async fn remove_strays(&self, known: &HashSet<String>) -> Result<usize> {
        let settings = self.containers.settings();
        let mut strays = 0;
        for name in names_in(&settings.dir)? {
            if known.contains(&name) || records::is_aside(self.containers.store(), &name).await? {
                continue;
            }
            self.stop_stray(&name).await;
            let path = settings.dir.join(&name);
            self.containers
                .trash()
                .discard(&path)
                .map_err(EngineError::io(path.display()))?;
            strays += 1;
        }
        for name in names_in(&settings.exec_root)? {
            let Some(id) = name.strip_suffix(".sock").and_then(ContainerId::parse) else {
                continue;
            };
            if !known.contains(id.as_str())
                && !records::is_aside(self.containers.store(), id.as_str()).await?
            {
                self.stop_stray(id.as_str()).await;
            }
        }
        Ok(strays)
    }

    /// A process whose record is gone was being removed by force.
    async fn stop_stray(&self, id: &str) {
        if let Err(e) = self.containers.clear_stray(id).await {
            tracing::warn!(container = id, error = %e, "a stray container's processes could not be ended");
        }
    }
}

fn lock(coming: &Mutex<HashSet<ContainerId>>) -> MutexGuard<'_, HashSet<ContainerId>> {
    coming.lock().unwrap_or_else(|e| e.into_inner())
}

fn names_in(dir: &Path) -> Result<Vec<String>> {
    let failed = || EngineError::io(dir.display());
    std::fs::read_dir(dir)
        .map_err(failed())?
        .map(|entry| {
            let entry = entry.map_err(failed())?;
            Ok(entry.file_name().to_string_lossy().into_owned())
        })
        .collect()
}
