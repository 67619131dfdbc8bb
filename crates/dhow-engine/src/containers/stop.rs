//! Ending a container: stop, kill, restart.

use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::Target;
use dhow_runtime::client::end_shim;
use tokio::sync::watch::Receiver;

use super::Containers;
use super::container::{Container, Progress};
use super::signal::{self, SIGKILL};
use super::start::Cause;
use super::state::{Event, State};
use crate::background::blocking;
use crate::error::{EngineError, Result};

/// How long a SIGKILL may take to be seen, before the client is told that it does not work.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a shim may take to answer to a SIGKILL, or to tell of its effect, before it is done without.
const SHIM_PATIENCE: Duration = Duration::from_secs(3);

/// Seconds that an unhealthy container has for its end, where neither it nor the daemon says a number.
const UNHEALTHY_PATIENCE: u64 = 10;

impl Containers {
    /// Asks the process to end, and kills it after `timeout` seconds (negative is never). Returns once it
    /// has ended and everybody can see it.
    pub async fn stop(&self, name: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<()> {
        let container = self.find(name)?;
        let signal = parse_signal(&container, signal)?;
        let _ops = container.ops.lock().await;
        match container.state() {
            State::Running(_) | State::Paused(_) | State::Restarting(_) => {}
            _ => return Err(EngineError::NotModified),
        }
        self.stop_and_tell(&container, timeout, signal).await
    }

    pub async fn restart(
        &self,
        name: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<()> {
        let container = self.find(name)?;
        let signal = parse_signal(&container, signal)?;
        let _ops = container.ops.lock().await;
        if container.state().is_live() {
            // Between the two a container of `--rm` would be removed; its removal waits for this lock, and
            // finds it running.
            self.stop_and_tell(&container, timeout, signal).await?;
        }
        self.start_locked(&container, Cause::User).await?;
        container.view().life.restart_count = 0;
        self.tell(&container, "restart", &[]);
        Ok(())
    }

    /// Sends a signal. Waits for the end where the signal leaves the process no choice, and for nothing
    /// otherwise.
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.find(name)?;
        let number = match signal {
            None | Some("") => SIGKILL,
            Some(text) => signal::parse(text)?,
        };
        let cannot = || EngineError::cannot(format!("cannot kill container: {name}"));
        let state = container.state();
        if matches!(state, State::Restarting(_)) {
            return Err(cannot()(EngineError::Restarting(container.id.clone())));
        }
        if state.run().is_none() {
            return Err(cannot()(container.not_running()));
        }
        let mut ended = container.watch();
        // A policy does not bring back what a user has killed, also when the daemon ends before the process.
        if number == SIGKILL || number == container.definition().stop_signal() {
            let turn = container.turn().await;
            // One that has ended since needs no intent.
            let _ = turn.settle(&self.inner.store, Event::Stop).await;
        }
        if number == SIGKILL {
            self.force_end(&container, &mut ended)
                .await
                .map_err(cannot())?;
            return Ok(());
        }
        let shim = container.shim().map_err(cannot())?;
        match shim.signal(Target::Init, number).await {
            Ok(()) => {}
            // It has just ended by itself.
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(EngineError::io(format!("cannot kill container: {name}"))(e)),
        }
        self.tell(&container, "kill", &[("signal", &number.to_string())]);
        Ok(())
    }

    /// As in Docker, it is told that a container was stopped before it is told that it died: whoever ends it does so.
    async fn stop_and_tell(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        signal: i32,
    ) -> Result<()> {
        container.view().stop_untold = true;
        let stopped = self.stop_locked(container, timeout, signal).await;
        let untold = std::mem::take(&mut container.view().stop_untold);
        stopped?;
        if untold {
            self.tell(container, "stop", &[]);
        }
        Ok(())
    }

    /// The caller holds the operation lock, and has seen a container that lives.
    pub async fn stop_locked(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        signal: i32,
    ) -> Result<()> {
        let mut ended = container.watch();
        let stopped = {
            let turn = container.turn().await;
            turn.settle(&self.inner.store, Event::Stop).await
        };
        match stopped {
            // It was between two runs.
            Ok(State::Exited(_)) => return Ok(()),
            Ok(_) => {}
            // It has ended since.
            Err(_) => return Ok(()),
        }
        let seconds = timeout
            .or(container.definition().config.stop_timeout)
            .unwrap_or(self.defaults().stop_timeout);
        let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
        // A removal needs no other signal than the last one.
        if signal != SIGKILL {
            match container.shim() {
                Ok(shim) => self.send(container, &shim, signal).await?,
                Err(e) => {
                    tracing::warn!(container = %container.id, error = %e, "its signal can't be sent");
                }
            }
            if matches!(container.state(), State::Paused(_)) {
                self.thaw(container).await?;
            }
        }
        if patience != Some(Duration::ZERO) && wait_for_end(&mut ended, patience).await.is_ok() {
            return Ok(());
        }
        let what = format!("cannot stop container: {}", container.name());
        self.force_end(container, &mut ended)
            .await
            .map_err(EngineError::cannot(what))
    }

    /// Ends the run that began at `started_at`, which its health check has given up, for its restart policy to start it
    /// again. No user has wished it, so it stays running as far as is stored, with a mark; and a user who wishes
    /// something does not wait for it.
    pub async fn end_unhealthy(&self, container: &Arc<Container>, started_at: i64) -> Result<()> {
        let is_that_run =
            |state| matches!(state, State::Running(run) if run.started_at == started_at);
        let mut progress = container.watch();
        let before = {
            let _ops = container.ops.lock().await;
            if !is_that_run(container.state()) {
                return Ok(());
            }
            let before = progress.borrow_and_update().exits;
            let shim = container.shim()?;
            container.view().life.failed_health = true;
            self.save(container).await;
            let signal = container.definition().stop_signal();
            self.send(container, &shim, signal).await?;
            before
        };
        let wished = container.definition().config.stop_timeout;
        let default = self.defaults().stop_timeout;
        // One that may take for ever has been given up all the same.
        let seconds = wished
            .and_then(|seconds| u64::try_from(seconds).ok())
            .or(u64::try_from(default).ok())
            .unwrap_or(UNHEALTHY_PATIENCE);
        let ended = progress.wait_for(|p| p.exits > before || p.removed);
        if tokio::time::timeout(Duration::from_secs(seconds), ended)
            .await
            .is_ok()
        {
            return Ok(());
        }
        let _ops = container.ops.lock().await;
        if !is_that_run(container.state()) {
            return Ok(());
        }
        if let Ok(shim) = container.shim()
            && let Ok(Ok(())) =
                tokio::time::timeout(SHIM_PATIENCE, shim.signal(Target::Init, SIGKILL)).await
        {
            self.tell(container, "kill", &[("signal", "9")]);
            return Ok(());
        }
        let cgroup = self.cgroup(container)?;
        blocking(move || cgroup.kill())
            .await?
            .map_err(EngineError::io("ending its processes"))
    }

    async fn send(
        &self,
        container: &Container,
        shim: &dhow_runtime::Shim,
        signal: i32,
    ) -> Result<()> {
        match shim.signal(Target::Init, signal).await {
            Ok(()) => {}
            Err(e) if is_gone(&e) => return Ok(()),
            // The SIGKILL to come goes another way.
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                tracing::warn!(container = %container.id, "its shim does not answer");
                return Ok(());
            }
            Err(e) => {
                return Err(EngineError::io(format!(
                    "cannot stop container: {}",
                    container.name()
                ))(e));
            }
        }
        self.tell(container, "kill", &[("signal", &signal.to_string())]);
        Ok(())
    }

    /// Ends a container's process, whatever its shim does: by the shim, which tells of the end; if it does
    /// not answer, through the cgroup; and if it does not tell of that either, with the shim itself, whose
    /// end is noticed. The user's wish has been stored.
    async fn force_end(
        &self,
        container: &Arc<Container>,
        ended: &mut Receiver<Progress>,
    ) -> Result<()> {
        if let Ok(shim) = container.shim() {
            let signal = shim.signal(Target::Init, SIGKILL);
            match tokio::time::timeout(SHIM_PATIENCE, signal).await {
                Ok(Ok(())) => {
                    self.tell(container, "kill", &[("signal", "9")]);
                    // A frozen process takes a signal only once it thaws.
                    if matches!(container.state(), State::Paused(_)) {
                        self.thaw(container).await?;
                    }
                    if wait_for_end(ended, Some(KILL_PATIENCE)).await.is_ok() {
                        return Ok(());
                    }
                }
                // It may have ended by itself just now.
                Ok(Err(e)) if is_gone(&e) => {
                    if wait_for_end(ended, Some(SHIM_PATIENCE)).await.is_ok() {
                        return Ok(());
                    }
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        tracing::warn!(container = %container.id, "its shim does not answer: it is ended through its cgroup");
        let cgroup = self.cgroup(container)?;
        blocking(move || cgroup.kill())
            .await?
            .map_err(EngineError::io("ending its processes"))?;
        if wait_for_end(ended, Some(SHIM_PATIENCE)).await.is_ok() {
            return Ok(());
        }
        tracing::warn!(container = %container.id, "its shim does not tell of its end: it is ended, too");
        let (exec_root, id) = (self.inner.settings.exec_root.clone(), container.id.clone());
        blocking(move || end_shim(&exec_root, id.as_str()))
            .await?
            .map_err(EngineError::io("ending its shim"))?;
        wait_for_end(ended, Some(KILL_PATIENCE)).await
    }
}

fn parse_signal(container: &Container, signal: Option<&str>) -> Result<i32> {
    match signal {
        None | Some("") => Ok(container.definition().stop_signal()),
        Some(text) => signal::parse(text),
    }
}

/// Whether an error says that there is no process, or no shim any more.
pub fn is_gone(e: &std::io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
        || matches!(
            e.kind(),
            std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::UnexpectedEof
                | std::io::ErrorKind::NotConnected
        )
}

async fn wait_for_end(ended: &mut Receiver<Progress>, patience: Option<Duration>) -> Result<()> {
    let waiting = ended.wait_for(|p| !p.live);
    match patience {
        None => waiting.await.map(drop).map_err(|_| EngineError::NoEnd),
        Some(patience) => tokio::time::timeout(patience, waiting)
            .await
            .map_err(|_| EngineError::NoEnd)?
            .map(drop)
            .map_err(|_| EngineError::NoEnd),
    }
}
