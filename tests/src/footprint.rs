//! What a host has on the machine: counted before and after, it tells what was left behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::netns::NetNs;

/// The environment variable that marks a daemon and all that it forks as one host's.
pub const MARK: &str = "DHOW_TEST_HOST";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Daemon, spawner, shims, containers: "PID COMMAND LINE".
    pub processes: BTreeSet<String>,
    /// In the machine's own mount namespace.
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<PathBuf>,
    pub links: BTreeSet<String>,
    pub rules: Vec<String>,
    /// Under the containers' directory and the exec-root.
    pub files: BTreeSet<PathBuf>,
}

impl Footprint {
    pub fn take(netns: &NetNs, dir: &Path, containers: &BTreeSet<String>) -> Footprint {
        Footprint {
            processes: processes(netns, dir, containers),
            mounts: mounts(dir),
            cgroups: cgroups(containers),
            links: links(netns),
            rules: rules(netns),
            files: files(dir),
        }
    }

    /// What is in this one and not in the other, a line each.
    pub fn beyond(&self, before: &Footprint) -> Vec<String> {
        let mut beyond = Vec::new();
        // A daemon that was started again has other numbers: what counts is how many there are.
        if self.processes.len() > before.processes.len() {
            for process in self.processes.difference(&before.processes) {
                beyond.push(format!("process {process}"));
            }
        }
        for mount in self.mounts.difference(&before.mounts) {
            beyond.push(format!("mount {mount}"));
        }
        for cgroup in self.cgroups.difference(&before.cgroups) {
            beyond.push(format!("cgroup {}", cgroup.display()));
        }
        for link in self.links.difference(&before.links) {
            beyond.push(format!("link {link}"));
        }
        for rule in self
            .rules
            .iter()
            .filter(|rule| !before.rules.contains(rule))
        {
            beyond.push(format!("rule {rule}"));
        }
        for file in self.files.difference(&before.files) {
            beyond.push(format!("file {}", file.display()));
        }
        beyond
    }
}

/// Processes that carry the host's mark, are in its network namespace or in the cgroup of one of its containers, or
/// have their root in its directory: a container's environment and namespaces are its own, but its root isn't.
pub fn processes(netns: &NetNs, dir: &Path, containers: &BTreeSet<String>) -> BTreeSet<String> {
    pids(netns, dir, containers)
        .into_iter()
        .map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{pid} ({}) {command}", name.trim())
        })
        .collect()
}

pub fn pids(netns: &NetNs, dir: &Path, containers: &BTreeSet<String>) -> Vec<i32> {
    let mark = format!("{MARK}={}", dir.display());
    let dir = dir.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let proc = entry.path();
        if is_zombie(&proc) {
            continue;
        }
        let marked = || {
            fs::read(proc.join("environ")).is_ok_and(|env| {
                env.split(|b| *b == 0)
                    .any(|variable| variable == mark.as_bytes())
            })
        };
        let networked =
            || fs::metadata(proc.join("ns/net")).is_ok_and(|ns| ns.ino() == netns.inode());
        // Other mounts than the root tell nothing: a new mount namespace begins as a copy of the machine's,
        // with everyone's mounts in it.
        let rooted = || {
            fs::read_to_string(proc.join("mountinfo")).is_ok_and(|mounts| {
                mounts
                    .lines()
                    .any(|line| line.split(' ').nth(4) == Some("/") && line.contains(&dir))
            })
        };
        let contained = || {
            !containers.is_empty()
                && fs::read_to_string(proc.join("cgroup"))
                    .is_ok_and(|cgroups| containers.iter().any(|id| cgroups.contains(id.as_str())))
        };
        if marked() || networked() || contained() || rooted() {
            found.push(pid);
        }
    }
    found
}

pub(crate) fn is_zombie(proc: &Path) -> bool {
    fs::read_to_string(proc.join("stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" Z"))
    })
}

pub fn mounts(dir: &Path) -> BTreeSet<String> {
    let dir = dir.display().to_string();
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains(&dir))
        .filter_map(|line| line.split(' ').nth(4))
        .map(str::to_owned)
        .collect()
}

/// Every cgroup, in whatever hierarchy, that is named for one of these containers.
pub fn cgroups(containers: &BTreeSet<String>) -> BTreeSet<PathBuf> {
    fn walk(dir: &Path, containers: &BTreeSet<String>, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if containers.iter().any(|id| name.contains(id.as_str())) {
                found.insert(entry.path());
            } else {
                walk(&entry.path(), containers, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    if !containers.is_empty() {
        walk(Path::new("/sys/fs/cgroup"), containers, &mut found);
    }
    found
}

pub fn links(netns: &NetNs) -> BTreeSet<String> {
    let output = netns
        .command("ip")
        .args(["-o", "link", "show"])
        .output()
        .expect("iproute2 is installed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split(": ").nth(1))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

/// The rules and set elements of all tables, without their counters.
pub fn rules(netns: &NetNs) -> Vec<String> {
    let output = netns
        .command("nft")
        .args(["--stateless", "list", "ruleset"])
        .output()
        .expect("nftables is installed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    fn walk(dir: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), found);
            }
            found.insert(entry.path());
        }
    }
    let mut found = BTreeSet::new();
    walk(&dir.join("data/containers"), &mut found);
    walk(&dir.join("run"), &mut found);
    found
}
