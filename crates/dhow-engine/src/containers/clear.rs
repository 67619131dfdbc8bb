//! Taking away what a shim that is gone has left: processes in the container's cgroup, that cgroup, and the
//! shim's socket. Works on any part of it, and twice.

use dhow_runtime::cgroup::Cgroup;
use dhow_runtime::client::end_shim;

use super::Containers;
use super::container::Container;
use super::spec::cgroup_path;
use crate::background::blocking;
use crate::error::{EngineError, Result};

impl Containers {
    /// Ends what is in the container's cgroup, and removes that. Whether there was anything. A shim that is
    /// only just coming up ends first.
    pub async fn clear(&self, container: &Container) -> Result<bool> {
        let cgroup = self.cgroup(container)?;
        self.clear_group(container.id.as_str(), cgroup).await
    }

    /// As [`Containers::clear`], of a container that nobody knows any more.
    pub async fn clear_stray(&self, id: &str) -> Result<bool> {
        let cgroup = Cgroup::open(&cgroup_path(id, ""))
            .map_err(EngineError::io(format!("container {id}")))?;
        self.clear_group(id, cgroup).await
    }

    /// Removes what is left of the cgroup of a container that has ended: of a shim that was killed in the middle of
    /// its tear-down, some of it is.
    pub async fn remove_group(&self, container: &Container) {
        let removed = match self.cgroup(container) {
            Ok(cgroup) => blocking(move || cgroup.remove()).await,
            Err(e) => Err(e),
        };
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                tracing::warn!(container = %container.id, error = %e, "its cgroup could not be removed");
            }
            Err(e) => {
                tracing::warn!(container = %container.id, error = %e, "its cgroup could not be removed");
            }
        }
    }

    async fn clear_group(&self, id: &str, cgroup: Cgroup) -> Result<bool> {
        let (exec_root, id) = (self.inner.settings.exec_root.clone(), id.to_owned());
        blocking(move || {
            end_shim(&exec_root, &id)?;
            let ran = !cgroup.pids()?.is_empty();
            cgroup.kill()?;
            cgroup.remove()?;
            Ok(ran)
        })
        .await?
        .map_err(EngineError::io("ending its processes"))
    }
}
