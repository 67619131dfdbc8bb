//! Control groups: a container's own group in every hierarchy of version 1 (as mounted, also in the hybrid
//! layout beside version 2) or in the one of version 2 (the kernel's Documentation/admin-guide/cgroup-v1 and
//! cgroup-v2.rst; the OCI runtime specification's config-linux.md "Control groups").
//!
//! A group that was made by half, or whose processes are gone, can always be removed, twice too. What this
//! kernel has no controller for is a warning, not an error: Docker's users expect the container to start.

mod device_filter;
mod devices;
mod layout;
mod limits_v1;
mod limits_v2;
mod mounts;
mod oom;
pub mod usage;
mod weight;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};

pub use layout::{Hierarchy, Layout, Version};
pub use mounts::{CgroupMount, CgroupMounts, mounts};
pub(crate) use oom::OomWatch;

/// How long a group's processes may take to end after SIGKILL, or to freeze.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a round of killing waits for the processes to freeze.
const HASTE: Duration = Duration::from_millis(50);

/// How often a group is made whose parents are removed meanwhile.
const MOST_TRIES: u32 = 1000;
const RETRY_PAUSE: Duration = Duration::from_micros(50);

/// A container's group.
#[derive(Debug)]
pub struct Cgroup {
    layout: &'static Layout,
    /// Relative to each hierarchy's root.
    path: PathBuf,
    /// Version 2: the directory, for CLONE_INTO_CGROUP.
    directory: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes the group at `path` (such as `/dhow/<id>`) with its limits. What can't be limited here is added
    /// to `warnings`.
    ///
    /// # Errors
    /// A limit that the kernel refuses, named; the group is then removed again.
    pub fn create(
        path: &str,
        resources: Option<&LinuxResources>,
        warnings: &mut Vec<String>,
    ) -> io::Result<Cgroup> {
        let mut group = Cgroup::at(path)?;
        let made = group.make().and_then(|()| match resources {
            Some(resources) => group.limit(resources, warnings, true),
            None => Ok(()),
        });
        if let Err(e) = made {
            // The error that is reported is the one that came first.
            let _ = group.remove();
            return Err(e);
        }
        Ok(group)
    }

    /// Makes the group at `path`, as yet without limits: see [`Cgroup::limit_fresh`]. Half of it may be there
    /// after an error.
    pub(crate) fn make_at(path: &str) -> io::Result<Cgroup> {
        let mut group = Cgroup::at(path)?;
        group.make()?;
        Ok(group)
    }

    /// Sets the limits of a group that was just made; what can't be limited here is added to `warnings`.
    pub(crate) fn limit_fresh(
        &self,
        resources: &LinuxResources,
        warnings: &mut Vec<String>,
    ) -> io::Result<()> {
        self.limit(resources, warnings, true)
    }

    /// A handle to the group at `path`, whether or not it is there.
    pub fn open(path: &str) -> io::Result<Cgroup> {
        Cgroup::at(path)
    }

    fn at(path: &str) -> io::Result<Cgroup> {
        let relative = Path::new(path.trim_start_matches('/'));
        let plain = relative
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
        if !plain || relative.as_os_str().is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("invalid cgroup path {path:?}: it must name a group below the root"),
            ));
        }
        Ok(Cgroup {
            layout: Layout::get()?,
            path: relative.to_owned(),
            directory: None,
        })
    }

    fn make(&mut self) -> io::Result<()> {
        for hierarchy in self.layout.hierarchies() {
            let mut tries = MOST_TRIES;
            while let Err(e) = self.make_in(hierarchy) {
                tries -= 1;
                if !gone(&e) || tries == 0 {
                    return Err(e);
                }
                std::thread::sleep(RETRY_PAUSE);
            }
        }
        if self.layout.version() == Version::V2 {
            let directory = self.directories().next().unwrap_or_default();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.directory = Some(rustix::fs::open(&directory, flags, Mode::empty())?);
        }
        Ok(())
    }

    /// Whoever removes the last group beneath a parent may remove the parent as well, in the middle of this:
    /// then it is to be done once more.
    fn make_in(&self, hierarchy: &Hierarchy) -> io::Result<()> {
        let directory = hierarchy.root.join(&self.path);
        match fs::create_dir(&directory).or_else(already) {
            Ok(()) => {}
            Err(e) if gone(&e) => {
                self.make_parents(hierarchy)?;
                fs::create_dir(&directory)
                    .or_else(already)
                    .map_err(naming(&directory))?;
            }
            Err(e) => return Err(naming(&directory)(e)),
        }
        hierarchy.inherit(&directory).map_err(naming(&directory))
    }

    /// The groups above this one, with the controllers handed down.
    fn make_parents(&self, hierarchy: &Hierarchy) -> io::Result<()> {
        let mut directory = hierarchy.root.clone();
        let parents = self.path.parent().unwrap_or(Path::new(""));
        hierarchy.delegate(&directory)?;
        for component in parents.components() {
            directory.push(component);
            fs::create_dir(&directory)
                .or_else(already)
                .map_err(naming(&directory))?;
            hierarchy
                .inherit(&directory)
                .and_then(|()| hierarchy.delegate(&directory))
                .map_err(naming(&directory))?;
        }
        Ok(())
    }

    fn limit(
        &self,
        resources: &LinuxResources,
        warnings: &mut Vec<String>,
        fresh: bool,
    ) -> io::Result<()> {
        match self.layout.version() {
            Version::V1 => limits_v1::apply(self, resources, warnings, fresh),
            Version::V2 => limits_v2::apply(self, resources, warnings, fresh),
        }
    }

    /// Changes the limits that `resources` names; the others stay. Device rules are left alone.
    pub fn update(&self, resources: &LinuxResources) -> io::Result<Vec<String>> {
        let mut warnings = Vec::new();
        self.limit(resources, &mut warnings, false)?;
        Ok(warnings)
    }

    /// Moves the process `pid` (0: the caller) into the group.
    pub fn join(&self, pid: u32) -> io::Result<()> {
        for directory in self.directories() {
            write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Moves the calling process, of a single thread, into the group.
    ///
    /// On version 1 this goes through `tasks`: a thread that moves itself needs no lock on forks, and so no
    /// RCU grace period, which [`Cgroup::join`] waits for (the kernel's cgroup_procs_write_start, since 5.5).
    pub(crate) fn join_self(&self) -> io::Result<()> {
        let file = match self.layout.version() {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        for directory in self.directories() {
            write(&directory.join(file), "0")?;
        }
        Ok(())
    }

    /// Version 2: the directory to clone into.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// The processes in the group and in those below it. A group that is gone has none.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let Some(directory) = self.process_directory() else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        collect_pids(&directory, &mut found)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Ends every process in the group by SIGKILL and waits until they are gone, at most five seconds. What was
    /// frozen is thawed.
    pub fn kill(&self) -> io::Result<()> {
        if self.layout.version() == Version::V2
            && let Some(directory) = self.directories().next()
            // Since Linux 5.14; before it, and where the group is gone, the way below.
            && write(&directory.join("cgroup.kill"), "1").is_ok()
        {
            return self.wait_until("its processes are gone", || Ok(self.pids()?.is_empty()));
        }
        let killed = self.wait_until("its processes are gone", || self.kill_once());
        // A frozen process is not ended before it is thawed.
        killed.and(self.set_frozen(false))
    }

    /// Sends SIGKILL to all that are there; true when there were none.
    ///
    /// They are frozen for it: so none forks between the listing and its end, and no number that was listed
    /// is another process's when the signal goes.
    fn kill_once(&self) -> io::Result<bool> {
        if self.pids()?.is_empty() {
            return Ok(true);
        }
        // Without a freezer, or with a process that doesn't freeze, the next round finds who is left.
        let _ = self.freeze_within(HASTE);
        let pids = self.pids()?;
        for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
            match rustix::process::kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.set_frozen(false)?;
        Ok(pids.is_empty())
    }

    /// Stops every process in the group until [`Cgroup::thaw`].
    ///
    /// # Errors
    /// A process that can't be frozen in time, such as one that waits for a dead file server; all are then
    /// thawed again.
    pub fn freeze(&self) -> io::Result<()> {
        self.freeze_within(PATIENCE)
            .map_err(|error| match self.set_frozen(false) {
                Ok(()) => error,
                Err(also) => io::Error::new(
                    error.kind(),
                    format!("{error}; thawing what was frozen failed too: {also}"),
                ),
            })
    }

    fn freeze_within(&self, patience: Duration) -> io::Result<()> {
        self.set_frozen(true)?;
        self.wait_within(patience, "it is frozen", || self.is_frozen())
    }

    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let (controller, file, value) = match (self.layout.version(), frozen) {
            (Version::V1, true) => ("freezer", "freezer.state", "FROZEN"),
            (Version::V1, false) => ("freezer", "freezer.state", "THAWED"),
            (Version::V2, true) => ("", "cgroup.freeze", "1"),
            (Version::V2, false) => ("", "cgroup.freeze", "0"),
        };
        match self.directory_of(controller) {
            Some(directory) => match write(&directory.join(file), value) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !frozen => Ok(()),
                other => other,
            },
            None if frozen => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel has no freezer cgroup: containers can't be paused",
            )),
            None => Ok(()),
        }
    }

    fn is_frozen(&self) -> io::Result<bool> {
        let (controller, file) = match self.layout.version() {
            Version::V1 => ("freezer", "freezer.state"),
            Version::V2 => ("", "cgroup.events"),
        };
        let Some(directory) = self.directory_of(controller) else {
            return Ok(false);
        };
        let text = fs::read_to_string(directory.join(file))?;
        Ok(text.trim() == "FROZEN" || keyed(&text, "frozen") == Some(1))
    }

    /// How many processes the kernel has ended for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let (controller, file) = match self.layout.version() {
            Version::V1 => ("memory", "memory.oom_control"),
            Version::V2 => ("", "memory.events"),
        };
        self.directory_of(controller)
            .and_then(|d| fs::read_to_string(d.join(file)).ok())
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or(0)
    }

    /// Removes the group and those below it. One that is not there is no error.
    ///
    /// # Errors
    /// A process that is still in it after a bounded wait.
    pub fn remove(&self) -> io::Result<()> {
        let mut first = Ok(());
        for directory in self.directories() {
            let removed = remove_tree(&directory);
            if first.is_ok() {
                first = removed;
            }
        }
        first
    }

    fn directories(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.layout
            .hierarchies()
            .iter()
            .map(|h| h.root.join(&self.path))
    }

    /// The group's directory in the hierarchy with `controller`; "" is version 2's own.
    pub fn directory_of(&self, controller: &str) -> Option<PathBuf> {
        let hierarchy = self.layout.hierarchy_of(controller)?;
        Some(hierarchy.root.join(&self.path))
    }

    fn process_directory(&self) -> Option<PathBuf> {
        match self.layout.version() {
            Version::V1 => self
                .directory_of("pids")
                .or_else(|| self.directories().next()),
            Version::V2 => self.directories().next(),
        }
    }

    fn wait_until(&self, what: &str, done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        self.wait_within(PATIENCE, what, done)
    }

    fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        mut done: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(100);
        while !done()? {
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "cgroup {}: gave up waiting until {what}",
                        self.path.display()
                    ),
                ));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn collect_pids(directory: &Path, found: &mut Vec<u32>) -> io::Result<()> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|l| l.parse::<u32>().ok())),
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(naming(directory)(e)),
    }
    for below in subdirectories(directory)? {
        collect_pids(&below, found)?;
    }
    Ok(())
}

fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(Vec::new()),
        Err(e) => return Err(naming(directory)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(e) if gone(&e) => return Ok(()),
            // A group below it, or a process whose end the kernel has not finished.
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                for below in subdirectories(directory)? {
                    remove_tree(&below)?;
                }
                match fs::remove_dir(directory) {
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(pause),
                    Err(e) if !gone(&e) => return Err(naming(directory)(e)),
                    _ => return Ok(()),
                }
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(e) => return Err(naming(directory)(e)),
        }
    }
}

/// ENODEV: the group was removed while its file was open.
///
/// Errors that were given a sentence have lost their number, and keep it as [`kind`].
fn gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV)
}

fn kind(e: &io::Error) -> io::ErrorKind {
    match gone(e) {
        true => io::ErrorKind::NotFound,
        false => e.kind(),
    }
}

fn already(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(e)
    }
}

/// The number behind `key` in a file of lines "key number".
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (k, v) = line.split_once(' ')?;
        if k == key {
            v.trim().parse().ok()
        } else {
            None
        }
    })
}

fn naming(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |e| io::Error::new(kind(&e), format!("cgroup {}: {e}", path.display()))
}

/// One write, without creating or truncating: these are the kernel's files.
fn write(file: &Path, value: &str) -> io::Result<()> {
    use io::Write;
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut f| f.write_all(value.as_bytes()))
        .map_err(|e| {
            io::Error::new(
                kind(&e),
                format!("failed to write {value:?} to {}: {e}", file.display()),
            )
        })
}

#[cfg(test)]
mod tests;
