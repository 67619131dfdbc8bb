//! Ending a container: stop, kill, restart.

use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::Target;

use super::Containers;
use super::container::Container;
use super::signal::{self, SIGKILL};
use super::start::Cause;
use super::state::{Event, State};
use crate::error::{EngineError, Result};

/// How long a SIGKILL may take to be seen, before the client is told that it does not work.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Containers {
    /// Asks the process to end, and kills it after `timeout` seconds (negative is never). Returns once it
    /// has ended and everybody can see it.
    pub async fn stop(&self, name: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let signal = parse_signal(&container, signal)?;
        let _ops = container.ops.lock().await;
        match container.state() {
            State::Running(_) | State::Paused(_) | State::Restarting(_) => {}
            _ => return Err(EngineError::NotModified),
        }
        self.stop_locked(&container, timeout, signal).await?;
        self.tell(&container, "stop", &[]);
        Ok(())
    }

    pub async fn restart(
        &self,
        name: &str,
        timeout: Option<i64>,
        signal: Option<&str>,
    ) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let signal = parse_signal(&container, signal)?;
        let _ops = container.ops.lock().await;
        if container.state().is_live() {
            // Between the two a container of `--rm` would be removed; its removal waits for this lock, and
            // finds it running.
            self.stop_locked(&container, timeout, signal).await?;
            self.tell(&container, "stop", &[]);
        }
        self.start_locked(&container, Cause::User).await?;
        container.view().life.restart_count = 0;
        self.tell(&container, "restart", &[]);
        Ok(())
    }

    /// Sends a signal. Waits for the end where the signal leaves the process no choice, and for nothing
    /// otherwise.
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let number = match signal {
            None | Some("") => SIGKILL,
            Some(text) => signal::parse(text)?,
        };
        let cannot = |e: EngineError| match e {
            EngineError::Conflict(why) => {
                EngineError::Conflict(format!("cannot kill container: {name}: {why}"))
            }
            other => other,
        };
        let state = container.state();
        if matches!(state, State::Restarting(_)) {
            return Err(cannot(EngineError::Conflict(format!(
                "container {} is restarting, wait until the container is running",
                container.id
            ))));
        }
        let shim = container.shim().map_err(cannot)?;
        let mut ended = container.watch();
        // A policy does not bring back what a user has killed.
        if number == SIGKILL || number == container.definition().stop_signal() {
            let _ = container.transition(Event::Stop);
        }
        match shim.signal(Target::Init, number).await {
            Ok(()) => {}
            // It has just ended by itself.
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(EngineError::io(format!("cannot kill container: {name}"))(e)),
        }
        if number == SIGKILL && matches!(state, State::Paused(_)) {
            // A frozen process takes a signal only once it thaws.
            self.thaw(&container).await?;
        }
        self.tell(&container, "kill", &[("signal", &number.to_string())]);
        if number != SIGKILL {
            return Ok(());
        }
        wait_for_end(&mut ended, Some(KILL_PATIENCE))
            .await
            .map_err(|_| {
                EngineError::System(format!(
                    "cannot kill container: {name}: tried to kill container, but did not receive an exit event"
                ))
            })
    }

    /// The caller holds the operation lock, and has seen a container that lives.
    pub async fn stop_locked(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        signal: i32,
    ) -> Result<()> {
        let mut ended = container.watch();
        match container.transition(Event::Stop) {
            // It was between two runs.
            Ok(State::Exited(_)) => {
                self.save(container).await;
                return Ok(());
            }
            Ok(_) => {}
            // It has ended since.
            Err(_) => return Ok(()),
        }
        let Ok(shim) = container.shim() else {
            return wait_for_end(&mut ended, None).await;
        };
        let seconds = timeout
            .or(container.definition().config.stop_timeout)
            .unwrap_or(self.inner.settings.stop_timeout);
        let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
        self.send(container, &shim, signal).await?;
        if matches!(container.state(), State::Paused(_)) {
            self.thaw(container).await?;
        }
        if patience != Some(Duration::ZERO) && wait_for_end(&mut ended, patience).await.is_ok() {
            return Ok(());
        }
        // A removal has sent it already.
        if signal != SIGKILL {
            self.send(container, &shim, SIGKILL).await?;
        }
        wait_for_end(&mut ended, Some(KILL_PATIENCE))
            .await
            .map_err(|_| {
                EngineError::System(format!(
                    "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                    container.name()
                ))
            })
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

async fn wait_for_end(
    progress: &mut tokio::sync::watch::Receiver<super::container::Progress>,
    patience: Option<Duration>,
) -> Result<()> {
    let timed_out = || EngineError::System("the container did not end in time".to_owned());
    let ended = progress.wait_for(|p| !p.live);
    match patience {
        None => {
            ended.await.map_err(|_| timed_out())?;
        }
        Some(patience) => {
            tokio::time::timeout(patience, ended)
                .await
                .map_err(|_| timed_out())?
                .map_err(|_| timed_out())?;
        }
    }
    Ok(())
}
