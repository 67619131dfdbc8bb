//! Ending a shim that does not answer.
//!
//! It is found by the socket that it listens on, whose peer's process the kernel knows (SO_PEERCRED in
//! unix(7)), and by its command line where it does not listen yet, or is asked too much already. What it has
//! cloned and has not come to a program looks the same, and ends with it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{shim, sys};

/// How long a killed process may take to end; it takes longer only where the kernel holds it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of an id is enough, where a command line has no room for all of it.
const ENOUGH: usize = 12;

/// Ends a container's shim by SIGKILL and takes its socket away; one that is gone already is as good. Blocks,
/// for at most five seconds.
///
/// The container's processes run on, orphans without a log: they are ended through their cgroup, see
/// [`crate::cgroup::Cgroup::kill`].
///
/// # Errors
/// `TimedOut` when the kernel does not let the process go. It never gets to do anything more.
pub fn end_shim(runtime_dir: &Path, id: &str) -> io::Result<()> {
    let mut held = None;
    let deadline = Instant::now() + PATIENCE;
    for pid in find(runtime_dir, id)? {
        if let Some(pidfd) = kill(pid, id)
            && !ends(&pidfd, deadline)?
        {
            held = Some(pid);
        }
    }
    shim::socket::remove(runtime_dir, id);
    match held {
        None => Ok(()),
        Some(pid) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the shim of container {id}, process {pid}, does not end: the kernel holds it"),
        )),
    }
}

fn find(runtime_dir: &Path, id: &str) -> io::Result<Vec<u32>> {
    let listening = shim::socket::connect(runtime_dir, id);
    let listening = listening.and_then(|socket| sys::peer_pid(&socket));
    let mut found: Vec<u32> = listening.into_iter().filter(|pid| *pid != 0).collect();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && !found.contains(&pid)
            && is_shim(pid, id, ENOUGH)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Kills a process if it is the shim; the descriptor stands for it even where its number is used again.
fn kill(pid: u32, id: &str) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::empty()).ok()?;
    if !is_shim(pid, id, 0) {
        return None;
    }
    // It may have ended meanwhile.
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    Some(pidfd)
}

/// Whether a process is the shim of a container, by as much of the id as there is room for in its command
/// line, and at least `enough`.
fn is_shim(pid: u32, id: &str, enough: usize) -> bool {
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    if read("comm").trim_ascii() != shim::NAME.to_bytes() {
        return false;
    }
    let line = read("cmdline");
    let end = line
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let (line, whole) = (&line[..end], shim::title_of(id));
    let least = whole.len() - id.len() + enough.min(id.len());
    whole.as_bytes().starts_with(line) && line.len() >= if enough == 0 { 1 } else { least }
}

fn ends(pidfd: &OwnedFd, deadline: Instant) -> io::Result<bool> {
    let ready = rustix::io::retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| rustix::io::Errno::INVAL)?;
        rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left))
    })?;
    Ok(ready > 0)
}
