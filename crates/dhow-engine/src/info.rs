//! Counts and facts for `docker info`.

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
