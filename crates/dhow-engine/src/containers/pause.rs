//! Freezing a container and thawing it.

use std::sync::Arc;

use super::Containers;
use super::container::Container;
use super::state::{Event, State};
use crate::background::blocking;
use crate::error::{EngineError, Result};

impl Containers {
    pub async fn pause(&self, name: &str) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let _ops = container.ops.lock().await;
        self.freeze(&container).await?;
        self.save(&container).await;
        self.tell(&container, "pause", &[]);
        Ok(())
    }

    /// Freezes a container for as long as the engine itself needs it so; false if it does not run, or is frozen
    /// already. That is not stored: should this daemon end, the next one thaws it.
    pub async fn hold_still(&self, container: &Arc<Container>) -> Result<bool> {
        let _ops = container.ops.lock().await;
        let State::Running(run) = container.state() else {
            return Ok(false);
        };
        // Before it shows as paused: nobody is to store that as a user's wish.
        container.view().still = Some(run.started_at);
        if let Err(e) = self.freeze(container).await {
            container.view().still = None;
            return Err(e);
        }
        self.tell(container, "pause", &[]);
        Ok(true)
    }

    /// Undoes [`Containers::hold_still`], unless somebody did, or ended the container.
    pub async fn let_go(&self, container: &Arc<Container>) -> Result<()> {
        if !container.view().is_still() {
            return Ok(());
        }
        let _ops = container.ops.lock().await;
        let is_still = container.view().is_still();
        match is_still {
            true => self.thaw(container).await,
            false => Ok(()),
        }
    }

    async fn freeze(&self, container: &Arc<Container>) -> Result<()> {
        // Asked first: what must not be paused is not frozen for an instant either.
        container
            .state()
            .after(Event::Pause)
            .map_err(|refusal| container.refused(&Event::Pause, refusal))?;
        let cgroup = self.cgroup(container)?;
        blocking(move || cgroup.freeze())
            .await?
            .map_err(EngineError::io(format!(
                "cannot pause container {}",
                container.id
            )))?;
        if container.turn().await.transition(Event::Pause).is_err() {
            // It ended while it was being frozen.
            return Err(container.not_running());
        }
        Ok(())
    }

    pub async fn unpause(&self, name: &str) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let _ops = container.ops.lock().await;
        container
            .state()
            .after(Event::Unpause)
            .map_err(|refusal| container.refused(&Event::Unpause, refusal))?;
        self.thaw(&container).await
    }

    /// Thaws a container that is paused, whoever holds its operation lock.
    pub(crate) async fn thaw(&self, container: &Arc<Container>) -> Result<()> {
        let cgroup = self.cgroup(container)?;
        blocking(move || cgroup.thaw())
            .await?
            .map_err(EngineError::io(format!(
                "cannot unpause container {}",
                container.id
            )))?;
        // It may have ended as soon as it could.
        let unpaused = container.turn().await.transition(Event::Unpause);
        container.view().still = None;
        if unpaused.is_ok() {
            self.save(container).await;
            self.tell(container, "unpause", &[]);
        }
        Ok(())
    }

    /// Brings the cgroup to what is stored: an earlier daemon may have ended between the two, and what it had
    /// not acknowledged did not happen.
    pub async fn restore_freezer(&self, container: &Container) {
        let paused = matches!(container.state(), State::Paused(_));
        let restored = match self.cgroup(container) {
            Ok(cgroup) => {
                let restore = move || match paused {
                    true => cgroup.freeze(),
                    false => cgroup.thaw(),
                };
                blocking(restore)
                    .await
                    .and_then(|done| done.map_err(EngineError::io("its freezer")))
            }
            Err(e) => Err(e),
        };
        if let Err(e) = restored {
            tracing::error!(container = %container.id, paused, error = %e, "it is not as it was stored");
        }
    }
}
