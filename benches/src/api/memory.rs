//! The most memory that a daemon had resident, from one moment on.

use std::collections::BTreeSet;
use std::fs;

use dhow_tests::{TestHost, footprint};

/// The daemon, and a peer's second one beside it; not what runs in containers, nor the registry.
fn daemons(host: &TestHost) -> Vec<i32> {
    let all = footprint::pids(&host.netns, host.dir(), &BTreeSet::new());
    let is_daemon = |pid: &i32| {
        *pid as u32 == host.daemon_pid()
            || fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "containerd")
    };
    all.into_iter().filter(is_daemon).collect()
}

/// Forgets what was before (proc_pid_clear_refs(5), 5).
pub fn forget(host: &TestHost) {
    for pid in daemons(host) {
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// In MiB.
pub fn peak(host: &TestHost) -> f64 {
    let peak_of = |pid: i32| -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").trim().parse().ok()
    };
    let all = daemons(host).into_iter().filter_map(peak_of);
    all.sum::<f64>() / 1024.0
}
