//! What a container takes of its host: its processes, its use of resources, its bytes on the disk.

use std::sync::Arc;

use dhow_api::{Stats, TopResponse};

use super::Containers;
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::host;

impl Containers {
    /// One sample. A container that does not run has an empty one, as in Docker.
    pub async fn stats(&self, name: &str) -> Result<Stats> {
        let container = self.find(name)?;
        let mut stats = Stats {
            id: container.id.to_string(),
            name: format!("/{}", container.name()),
            os_type: "linux".into(),
            // Of a sample that was not taken: clients read a time there.
            read: dhow_api::time::ZERO.into(),
            preread: dhow_api::time::ZERO.into(),
            ..Stats::default()
        };
        let Some(pid) = container.state().run().map(|r| r.pid) else {
            return Ok(stats);
        };
        let cgroup = self.cgroup(&container)?;
        let facts = Arc::clone(&self.inner.host);
        let own_network = container.definition().host_config.network_mode != "host";
        blocking(move || {
            host::stats::sample(&mut stats, &cgroup, &facts, pid, own_network);
            stats
        })
        .await
    }

    /// Its processes, with the columns that `ps` shows with these arguments.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<TopResponse> {
        let container = self.find(name)?;
        if container.state().run().is_none() {
            return Err(container.not_running());
        }
        let columns = host::top::Columns::parse(ps_args)?;
        let cgroup = self.cgroup(&container)?;
        let memory = self.inner.host.memory;
        let processes = blocking(move || {
            let pids = cgroup
                .pids()
                .map_err(EngineError::io("listing the container's processes"))?;
            host::top::processes(pids, &columns, memory)
        });
        let processes = processes.await??;
        self.tell(&container, "top", &[]);
        Ok(processes)
    }

    /// The bytes that the container itself has written, and those with its image's.
    pub async fn size(&self, name: &str) -> Result<(u64, u64)> {
        let container = self.find(name)?;
        let upper = container.upper_dir();
        let own = blocking(move || host::size::of_tree(&upper)).await?;
        let image = self
            .inner
            .images
            .resolve(&container.definition().image_id)
            .map_or(0, |i| i.size);
        Ok((own, own + image))
    }
}
