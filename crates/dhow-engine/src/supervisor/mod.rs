//! The supervisor: told of starts, ends and due restarts, it alone starts again, removes after the end, and
//! has health watched.
//!
//! Each container's watching is a task of its own: what one of them waits for keeps no other. None of them
//! takes the container's operation lock for an end: whoever stops a container holds it while waiting for
//! just this to happen.

pub mod end;

use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::Shim;
use dhow_runtime::protocol::ExitRecord;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::background::Background;
use crate::containers::container::Container;
use crate::containers::remove::RemoveOptions;
use crate::containers::start::Cause;
use crate::containers::state::{Event, State};
use crate::containers::{Containers, Notice, about};
use crate::execs::Execs;
use crate::networks::{BRIDGE, EndpointRecord};

/// A handle; clones are the same.
#[derive(Clone)]
pub struct Supervisor {
    containers: Containers,
    execs: Execs,
    background: Background,
}

impl Supervisor {
    pub fn new(containers: Containers, execs: Execs, background: Background) -> Supervisor {
        Supervisor {
            containers,
            execs,
            background,
        }
    }

    /// Sees to notices until the engine's end.
    pub fn run(&self, mut notices: UnboundedReceiver<Notice>) {
        let supervisor = self.clone();
        self.background.spawn(async move {
            loop {
                let notice = tokio::select! {
                    () = supervisor.background.closing() => return,
                    notice = notices.recv() => notice,
                };
                match notice {
                    Some(notice) => supervisor.see_to(notice),
                    None => return,
                }
            }
        });
    }

    fn see_to(&self, notice: Notice) {
        match notice {
            Notice::Started(container, shim) => {
                self.execs.watch_health(&container);
                self.keep(container, Some(shim));
            }
            Notice::Unreachable(container) => {
                self.execs.watch_health(&container);
                self.keep(container, None);
            }
            Notice::Restart(container, pause) => self.restart_after(container, pause),
            Notice::Unhealthy(container, run) => self.end_unhealthy(container, run),
            Notice::Spent(container) => self.remove(container),
            Notice::Removed { execs } => self.execs.forget(&execs),
        }
    }

    /// Watches over a running container, until its end or the engine's. Without a shim, one that could not
    /// be reached is looked for.
    fn keep(&self, container: Arc<Container>, shim: Option<Shim>) {
        let supervisor = self.clone();
        let cleared = container.view().cleared.clone();
        self.background.spawn(async move {
            let Some(end) = supervisor.end_of(&container, shim).await else {
                return;
            };
            supervisor.ended(&container, &end.record).await;
            if let Some(shim) = end.shim
                && let Err(e) = shim.release().await
            {
                tracing::debug!(container = %container.id, error = %e, "its shim has gone already");
                // It may have been killed before it had cleared away.
                if let Err(e) = supervisor.containers.clear(&container).await {
                    tracing::warn!(container = %container.id, error = %e, "what its shim has left can't be cleared away");
                }
            }
            if let Some(cleared) = cleared {
                cleared.cancel();
            }
        });
    }

    /// Does all that an exit asks for. `record` may also be one that a new daemon has found.
    pub async fn ended(&self, container: &Arc<Container>, record: &ExitRecord) {
        let ran = Duration::from_nanos(
            u64::try_from(record.finished_at.saturating_sub(record.started_at)).unwrap_or(0),
        );
        let containers = &self.containers;
        let definition = container.definition();
        let (endpoints, restart_count) = {
            let mut view = container.view();
            let endpoints = std::mem::take(&mut view.life.endpoints);
            (endpoints, view.life.restart_count)
        };
        let (networks, id) = (containers.networks().clone(), container.id.clone());
        // Given back before anyone learns of the end: a client that waited may use a port at once, or remove a network.
        let at_once = |e: &EndpointRecord| !e.ports.is_empty() || e.network != BRIDGE;
        if endpoints.iter().any(at_once) {
            networks.leave(&id, &endpoints).await;
        } else if !endpoints.is_empty() {
            let endpoints = endpoints.clone();
            self.background
                .spawn(async move { networks.leave(&id, &endpoints).await });
        }
        // As with the ports: what has ended keeps no filesystem busy.
        containers.unmount_volumes(container).await;
        containers.tell_networks(container, &endpoints, "disconnect");
        containers.tell_volumes(container, "unmount");
        let policy = definition.restart_policy().unwrap_or_default();
        // Also with an exit code that says otherwise.
        let failed = std::mem::take(&mut container.view().life.failed_health) && record.code == 0;
        let code = if failed { 1 } else { record.code };
        let wants = !self.background.is_closing() && policy.wants(code, restart_count);
        self.execs
            .forget(&std::mem::take(&mut container.view().execs));
        let tell = self.news_of_end(container, record, ran);
        let exit = Event::Exit {
            exit_code: record.code,
            oom_killed: record.oom_killed,
            at: record.finished_at,
            restart: wants,
        };
        let (after, late) = {
            let turn = container.turn().await;
            // Whoever connects it to a network needs its turn, and sees from now on that it has ended.
            let late = std::mem::take(&mut container.view().life.endpoints);
            let after = if definition.host_config.auto_remove {
                // What is removed now has nothing to be stored; until it is, its exit record counts.
                turn.transition_and_tell(exit, tell)
            } else {
                turn.settle_and_tell(containers.store(), exit, tell).await
            };
            (after, late)
        };
        containers.networks().leave(&container.id, &late).await;
        let after = match after {
            Ok(after) => after,
            Err(refusal) => {
                tracing::error!(container = %container.id, ?refusal, "an exit found an unexpected state");
                return;
            }
        };
        if definition.host_config.auto_remove {
            containers.note_departure(container, record.code);
            self.remove(container.clone());
            return;
        }
        if matches!(after, State::Restarting(_)) {
            let pause = container.view().backoff.next(ran);
            self.restart_after(container.clone(), pause);
        }
    }

    /// Tells of an end all that is still to be told, when it is called.
    fn news_of_end(
        &self,
        container: &Arc<Container>,
        record: &ExitRecord,
        ran: Duration,
    ) -> impl FnOnce() + Send + use<> {
        let (oom, stopped) = {
            let mut view = container.view();
            let oom_told = std::mem::take(&mut view.oom_told);
            let stopped = std::mem::take(&mut view.stop_untold);
            (record.oom_killed && !oom_told, stopped)
        };
        let (code, seconds) = (record.code.to_string(), ran.as_secs().to_string());
        let plain = about(container, &[]);
        let died = about(
            container,
            &[("exitCode", &code), ("execDuration", &seconds)],
        );
        let (containers, container) = (self.containers.clone(), container.clone());
        move || {
            for (action, untold) in [("oom", oom), ("stop", stopped)] {
                if untold {
                    containers.publish(&container, action, plain.clone());
                }
            }
            containers.publish(&container, "die", died);
        }
    }

    /// Its restart policy does the rest.
    fn end_unhealthy(&self, container: Arc<Container>, run: i64) {
        let supervisor = self.clone();
        self.background.spawn(async move {
            tracing::info!(container = %container.id, "its health check has failed so often that it is restarted");
            let ended = tokio::select! {
                () = supervisor.background.closing() => return,
                ended = supervisor.containers.end_unhealthy(&container, run) => ended,
            };
            if let Err(e) = ended {
                tracing::warn!(container = %container.id, error = %e, "it is unhealthy, and could not be ended");
            }
        });
    }

    /// Starts a container again once its pause is over, unless a user has decided otherwise by then.
    fn restart_after(&self, container: Arc<Container>, pause: Duration) {
        let supervisor = self.clone();
        self.background.spawn(async move {
            let mut changed = container.watch();
            tokio::select! {
                () = supervisor.background.closing() => return,
                () = tokio::time::sleep(pause) => {}
                _ = changed.wait_for(|p| !p.live || p.removed) => return,
            }
            // At a daemon's start all restart at once.
            tokio::select! {
                () = supervisor.background.closing() => return,
                () = supervisor.containers.await_partners(&container, |_| false) => {}
            }
            let _ops = container.ops.lock().await;
            if !matches!(container.state(), State::Restarting(_)) {
                return;
            }
            container.view().life.restart_count += 1;
            if let Err(e) = supervisor.containers.start_locked(&container, Cause::Policy).await {
                tracing::warn!(container = %container.id, error = %e, "it could not be started again");
                // Docker gives up here; but what is in the way now, such as a port, may go away.
                if matches!(container.state(), State::Restarting(_)) {
                    let pause = container.view().backoff.next(Duration::ZERO);
                    supervisor.restart_after(container.clone(), pause);
                }
            }
        });
    }

    /// Removes a container of `--rm`; nobody waits for it but those who wait for just that.
    fn remove(&self, container: Arc<Container>) {
        let supervisor = self.clone();
        self.background.spawn(async move {
            let options = RemoveOptions {
                force: true,
                volumes: true,
                link: false,
            };
            let _ops = container.ops.lock().await;
            // A restart holds the lock over both its halves.
            if container.state().is_live() {
                return;
            }
            if let Err(e) = supervisor.containers.remove_locked(&container, &options).await {
                tracing::warn!(container = %container.id, error = %e, "it could not be removed after its end");
            }
        });
    }
}
