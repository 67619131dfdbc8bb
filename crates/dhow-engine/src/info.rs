//! Counts and facts for `docker info`.

use crate::containers::state::State;
use crate::engine::Engine;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// The data-root's id, a UUID.
    pub id: String,
    pub containers: u64,
    pub running: u64,
    pub paused: u64,
    pub stopped: u64,
    pub images: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    pub apparmor: bool,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    pub swap_limit: bool,
    pub event_listeners: u64,
}

impl Engine {
    pub fn info(&self) -> EngineInfo {
        let mut info = EngineInfo {
            id: self.inner.id.clone(),
            images: self.inner.images.count() as u64,
            cgroup_version: self.inner.host.cgroup_version,
            apparmor: self.inner.host.apparmor,
            cpus: self.inner.host.cpus,
            memory: self.inner.host.memory,
            swap_limit: self.inner.host.swap_limit,
            event_listeners: self.inner.events.listeners() as u64,
            ..EngineInfo::default()
        };
        for container in self.inner.containers.all() {
            info.containers += 1;
            match container.state() {
                State::Running(_) | State::Restarting(_) => info.running += 1,
                State::Paused(_) => info.paused += 1,
                _ => info.stopped += 1,
            }
        }
        info
    }
}
