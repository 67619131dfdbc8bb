//! Freezing a container and thawing it.

use std::sync::Arc;

use dhow_runtime::cgroup::Cgroup;

use crate::containers::container::Container;
use crate::containers::spec::cgroup_path;
use crate::containers::state::Event;
use crate::engine::Engine;
use crate::error::{EngineError, Result};

impl Engine {
    pub(crate) fn cgroup(&self, container: &Container) -> Result<Cgroup> {
        let definition = container.definition();
        let path = cgroup_path(
            container.id.as_str(),
            &definition.host_config.resources.cgroup_parent,
        );
        Cgroup::open(&path).map_err(EngineError::io(format!("container {}", container.id)))
    }

    pub async fn pause(&self, name: &str) -> Result<()> {
        let container = self.inner.containers.find(name)?;
        let _ops = container.ops.lock().await;
        // Asked first: what must not be paused is not frozen for an instant either.
        container
            .state()
            .after(Event::Pause)
            .map_err(|refusal| container.refused(&Event::Pause, refusal))?;
        let cgroup = self.cgroup(&container)?;
        tokio::task::spawn_blocking(move || cgroup.freeze())
            .await
            .map_err(|e| EngineError::System(e.to_string()))?
            .map_err(EngineError::io(format!(
                "cannot pause container {}",
                container.id
            )))?;
        if container.transition(Event::Pause).is_err() {
            // It ended while it was being frozen.
            return Err(EngineError::Conflict(format!(
                "container {} is not running",
                container.id
            )));
        }
        self.save_or_log(&container).await;
        self.container_event(&container, "pause", &[]);
        Ok(())
    }

    pub async fn unpause(&self, name: &str) -> Result<()> {
        let container = self.inner.containers.find(name)?;
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
        tokio::task::spawn_blocking(move || cgroup.thaw())
            .await
            .map_err(|e| EngineError::System(e.to_string()))?
            .map_err(EngineError::io(format!(
                "cannot unpause container {}",
                container.id
            )))?;
        // It may have ended as soon as it could.
        if container.transition(Event::Unpause).is_ok() {
            self.save_or_log(container).await;
            self.container_event(container, "unpause", &[]);
        }
        Ok(())
    }
}
