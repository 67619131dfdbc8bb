//! A running container's cgroup, seen from the daemon: who is in it, freezing it, and ending all of it.
//! Making it and putting processes into it is the runtime's.
//!
//! On v1 (kernel `Documentation/admin-guide/cgroup-v1`) the path is the same in each hierarchy; on v2
//! (`cgroup-v2.rst`) there is one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use rustix::process::{Pid, Signal, kill_process};

const ROOT: &str = "/sys/fs/cgroup";

/// How often a cgroup whose processes were killed is looked at, and how long in between: the kernel says on
/// v1 neither when a process has gone nor when a directory has become empty.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub struct Cgroup {
    /// `/parent/id`, from the root of each hierarchy.
    path: PathBuf,
    v2: bool,
}

impl Cgroup {
    pub fn new(path: PathBuf, version: u8) -> Cgroup {
        Cgroup {
            path,
            v2: version == 2,
        }
    }

    /// Its directory in the hierarchy of a v1 controller, or its only one.
    pub fn dir(&self, controller: &str) -> PathBuf {
        let below = self.path.strip_prefix("/").unwrap_or(&self.path);
        if self.v2 {
            Path::new(ROOT).join(below)
        } else {
            Path::new(ROOT).join(controller).join(below)
        }
    }

    pub fn read(&self, controller: &str, file: &str) -> io::Result<String> {
        std::fs::read_to_string(self.dir(controller).join(file))
    }

    fn write(&self, controller: &str, file: &str, value: &str) -> io::Result<()> {
        std::fs::write(self.dir(controller).join(file), value)
    }

    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// The processes in it and below it.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        let mut todo = vec![self.dir("pids")];
        while let Some(dir) = todo.pop() {
            let text = match std::fs::read_to_string(dir.join("cgroup.procs")) {
                Ok(text) => text,
                // Below a threaded one, or gone meanwhile.
                Err(_) if dir != self.dir("pids") => continue,
                Err(e) => return Err(e),
            };
            pids.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
            for entry in std::fs::read_dir(&dir)?.flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    todo.push(entry.path());
                }
            }
        }
        Ok(pids)
    }

    /// Stops all of its processes where they are. Blocks until they have.
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        if self.v2 {
            self.write("", "cgroup.freeze", if frozen { "1" } else { "0" })?;
            return self.wait(|c| {
                let events = c.read("", "cgroup.events")?;
                Ok(events
                    .lines()
                    .any(|l| l == if frozen { "frozen 1" } else { "frozen 0" }))
            });
        }
        let state = if frozen { "FROZEN" } else { "THAWED" };
        self.wait(|c| {
            // Written again each time: a process that forks meanwhile can hold the freezing up.
            c.write("freezer", "freezer.state", state)?;
            Ok(c.read("freezer", "freezer.state")?.trim() == state)
        })
    }

    fn wait(&self, done: impl Fn(&Cgroup) -> io::Result<bool>) -> io::Result<()> {
        for _ in 0..REMOVE_TRIES {
            if done(self)? {
                return Ok(());
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Kills whatever is in it, and removes it everywhere. One that is not there is no error.
    pub fn kill_and_remove(&self) -> io::Result<()> {
        if self.v2 {
            // From Linux 5.14 on; what this misses the loop below finds.
            let _ = self.write("", "cgroup.kill", "1");
        } else {
            // A frozen process does not die.
            let _ = self.write("freezer", "freezer.state", "THAWED");
        }
        let dirs = self.dirs()?;
        self.wait(|c| {
            match c.pids() {
                Ok(pids) => {
                    for pid in pids {
                        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                            // It may have gone meanwhile.
                            let _ = kill_process(pid, Signal::KILL);
                        }
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            Ok(dirs.iter().all(|d| remove_tree(d)))
        })
    }

    /// Its directories in all hierarchies that have it.
    fn dirs(&self) -> io::Result<Vec<PathBuf>> {
        if self.v2 {
            return Ok(vec![self.dir("")]);
        }
        let below = self.path.strip_prefix("/").unwrap_or(&self.path);
        let mut dirs = Vec::new();
        for entry in std::fs::read_dir(ROOT)? {
            let dir = entry?.path().join(below);
            if dir.is_dir() {
                dirs.push(dir);
            }
        }
        Ok(dirs)
    }

    /// Changes limits of a running container.
    pub fn update(&self, limits: &LinuxResources) -> io::Result<()> {
        if self.v2 {
            self.update_v2(limits)
        } else {
            self.update_v1(limits)
        }
    }

    fn update_v1(&self, limits: &LinuxResources) -> io::Result<()> {
        if let Some(memory) = limits.memory() {
            let set = |file: &str, value: Option<i64>| match value {
                Some(v) => self.write("memory", file, &v.to_string()),
                None => Ok(()),
            };
            let (limit, swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
            // The sum is never below the limit: which of the two can go first depends on the direction.
            if memory.swap().is_some() && set(swap, memory.swap()).is_ok() {
                set(limit, memory.limit())?;
            } else {
                set(limit, memory.limit())?;
                if self.dir("memory").join(swap).exists() {
                    set(swap, memory.swap())?;
                }
            }
            set("memory.soft_limit_in_bytes", memory.reservation())?;
        }
        if let Some(cpu) = limits.cpu() {
            let set = |controller: &str, file: &str, value: Option<String>| match value {
                Some(v) => self.write(controller, file, &v),
                None => Ok(()),
            };
            set("cpu", "cpu.shares", cpu.shares().map(|v| v.to_string()))?;
            set(
                "cpu",
                "cpu.cfs_period_us",
                cpu.period().map(|v| v.to_string()),
            )?;
            set(
                "cpu",
                "cpu.cfs_quota_us",
                cpu.quota().map(|v| v.to_string()),
            )?;
            set("cpuset", "cpuset.cpus", cpu.cpus().clone())?;
            set("cpuset", "cpuset.mems", cpu.mems().clone())?;
        }
        if let Some(pids) = limits.pids() {
            self.write("pids", "pids.max", &unlimited(pids.limit()))?;
        }
        Ok(())
    }

    fn update_v2(&self, limits: &LinuxResources) -> io::Result<()> {
        if let Some(memory) = limits.memory() {
            if let Some(limit) = memory.limit() {
                if let Some(swap) = memory.swap() {
                    // v1's sum; v2 counts swap alone.
                    let only = if swap < 0 { -1 } else { (swap - limit).max(0) };
                    self.write("", "memory.swap.max", &unlimited(only))?;
                }
                self.write("", "memory.max", &unlimited(limit))?;
            }
            if let Some(low) = memory.reservation() {
                self.write("", "memory.low", &low.to_string())?;
            }
        }
        if let Some(cpu) = limits.cpu() {
            if let Some(shares) = cpu.shares() {
                // runc's mapping of 2..262144 to 1..10000.
                let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
                self.write("", "cpu.weight", &weight.to_string())?;
            }
            if cpu.quota().is_some() || cpu.period().is_some() {
                let quota = match cpu.quota() {
                    Some(q) if q > 0 => q.to_string(),
                    _ => "max".to_owned(),
                };
                let period = cpu.period().unwrap_or(100_000);
                self.write("", "cpu.max", &format!("{quota} {period}"))?;
            }
            if let Some(cpus) = cpu.cpus() {
                self.write("", "cpuset.cpus", cpus)?;
            }
            if let Some(mems) = cpu.mems() {
                self.write("", "cpuset.mems", mems)?;
            }
        }
        if let Some(pids) = limits.pids() {
            self.write("", "pids.max", &unlimited(pids.limit()))?;
        }
        Ok(())
    }
}

fn unlimited(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// Removes a cgroup's directory and those below it; whether it is gone.
fn remove_tree(dir: &Path) -> bool {
    if let Ok(entries) = std::fs::read_dir(dir) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                remove_tree(&entry.path());
            }
        }
    }
    match std::fs::remove_dir(dir) {
        Ok(()) => true,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}
