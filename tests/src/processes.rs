//! The processes that a host's containers consist of: found, held by a descriptor, and ended by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::footprint::is_zombie;

/// A process that is not mistaken for another once it has ended.
pub struct Process {
    pub pid: i32,
    descriptor: OwnedFd,
    stopped: bool,
}

impl Process {
    pub fn open(pid: i32) -> Option<Process> {
        let descriptor = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Process {
            pid,
            descriptor,
            stopped: false,
        })
    }

    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }

    /// SIGSTOP. It goes on, if it is there still, when the value goes.
    pub fn stop(&mut self) {
        self.stopped = true;
        let _ = pidfd_send_signal(&self.descriptor, Signal::STOP);
    }

    pub fn has_ended(&self) -> bool {
        let mut descriptor = [PollFd::new(&self.descriptor, PollFlags::IN)];
        poll(&mut descriptor, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stopped {
            let _ = pidfd_send_signal(&self.descriptor, Signal::CONT);
        }
    }
}

/// A line of /proc/PID/status.
fn status(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

pub fn parent(pid: i32) -> Option<i32> {
    status(pid, "PPid")?.parse().ok()
}

fn name(pid: i32) -> Option<String> {
    Some(
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .ok()?
            .trim()
            .to_owned(),
    )
}

/// When it began, in the clock's ticks since the machine's start: with its number it is that process and no other.
fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22, of which those after the name begin with the third.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn all() -> Vec<i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| !is_zombie(&PathBuf::from(format!("/proc/{pid}"))))
        .collect()
}

fn is_in_cgroup(pid: i32, id: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroups| cgroups.contains(id))
}

/// Everything that runs in a container's control group.
pub fn members(id: &str) -> Vec<i32> {
    all()
        .into_iter()
        .filter(|pid| is_in_cgroup(*pid, id))
        .collect()
}

/// The process that forks shims: below the daemon, and known by its name.
pub fn spawner(daemon: i32) -> Option<Process> {
    let pid = all().into_iter().find(|pid| {
        name(*pid).is_some_and(|name| name == "dhow-spawner")
            && std::iter::successors(parent(*pid), |pid| parent(*pid)).any(|pid| pid == daemon)
    })?;
    Process::open(pid)
}

/// The shims of these containers, also of those that are just being started or have just ended.
pub fn shims(ids: &BTreeSet<String>) -> Vec<Process> {
    all()
        .into_iter()
        .filter(|pid| name(*pid).is_some_and(|name| name == "dhow-shim"))
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| ids.iter().any(|id| line.contains(id.as_str())))
        })
        .filter_map(Process::open)
        .collect()
}

/// The containers whose directories a data-root has.
pub fn containers(data_root: &Path) -> BTreeSet<String> {
    fs::read_dir(data_root.join("containers"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.len() == 64)
        .collect()
}

/// Looks all the time whether a container has two first processes at once.
pub struct Census {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<String>>>,
}

impl Census {
    /// Of all containers under a data-root.
    pub fn begin(data_root: PathBuf) -> Census {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if let Some(doubled) = doubled(&containers(&data_root)) {
                    return Some(doubled);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            None
        });
        Census {
            over,
            thread: Some(thread),
        }
    }

    fn end(&mut self) -> Option<String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok().flatten()
    }

    /// Fails the test if there were ever two.
    #[track_caller]
    pub fn assert_never_two(mut self) {
        if let Some(doubled) = self.end() {
            panic!("a container ran twice at once: {doubled}");
        }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.end();
    }
}

fn doubled(ids: &BTreeSet<String>) -> Option<String> {
    let mut first: BTreeMap<&str, (i32, u64)> = BTreeMap::new();
    for pid in all() {
        // The first of a process namespace has the number 1 in the innermost and another outside.
        let is_first = status(pid, "NSpid").is_some_and(|numbers| {
            let numbers: Vec<&str> = numbers.split_whitespace().collect();
            numbers.len() > 1 && numbers.last() == Some(&"1")
        });
        if !is_first {
            continue;
        }
        let Some(id) = ids.iter().find(|id| is_in_cgroup(pid, id)) else {
            continue;
        };
        let Some(since) = began(pid) else {
            continue;
        };
        if let Some((other, other_since)) = first.insert(id, (pid, since))
            // Both are there now, unless the one has ended since it was seen.
            && began(other) == Some(other_since)
            && !is_zombie(&PathBuf::from(format!("/proc/{other}")))
            && !is_zombie(&PathBuf::from(format!("/proc/{pid}")))
        {
            return Some(format!("{id} as {other} and as {pid}"));
        }
    }
    None
}
