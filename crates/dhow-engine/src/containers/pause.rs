//! Freezing a container and thawing it.

use std::sync::Arc;

use super::Containers;
use super::container::Container;
use super::state::Event;
use crate::background::blocking;
use crate::error::{EngineError, Result};

impl Containers {
    pub async fn pause(&self, name: &str) -> Result<()> {
        let container = self.inner.table.find(name)?;
        let _ops = container.ops.lock().await;
        // Asked first: what must not be paused is not frozen for an instant either.
        container
            .state()
            .after(Event::Pause)
            .map_err(|refusal| container.refused(&Event::Pause, refusal))?;
        let cgroup = self.cgroup(&container)?;
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
        self.save(&container).await;
        self.tell(&container, "pause", &[]);
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
        if unpaused.is_ok() {
            self.save(container).await;
            self.tell(container, "unpause", &[]);
        }
        Ok(())
    }
}
