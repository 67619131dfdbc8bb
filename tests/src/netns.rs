//! A network namespace that lives as long as the descriptor that we hold, with its loopback up.
//!
//! Not `ip netns exec`: it mounts a new /sys over the old, which hides the cgroups.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

#[derive(Clone, Debug)]
pub struct NetNs(Arc<File>);

impl NetNs {
    pub fn new() -> std::io::Result<NetNs> {
        let file = std::thread::spawn(|| -> std::io::Result<File> {
            // SAFETY: only the network namespace is unshared, and this thread ends here; the flag that
            // would need care, the descriptor table's, isn't given.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            File::open("/proc/thread-self/ns/net")
        })
        .join()
        .map_err(|_| std::io::Error::other("the thread that made the namespace panicked"))??;
        let netns = NetNs(Arc::new(file));
        let status = netns
            .command("ip")
            .args(["link", "set", "lo", "up"])
            .status()?;
        if !status.success() {
            return Err(std::io::Error::other("can't bring the loopback up"));
        }
        Ok(netns)
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let file = self.0.clone();
        // SAFETY: a single system call on a descriptor that the closure keeps open, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(())
            })
        };
        command
    }

    /// Runs a function on a thread in the namespace: its sockets are made there.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                        .expect("a namespace that is held open can be entered");
                    f()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Its file, for other programs, which find it there while this is held.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.0.as_raw_fd()
        ))
    }

    /// The number that /proc/PID/ns/net of the processes in it shows.
    pub fn inode(&self) -> u64 {
        self.0.metadata().map(|m| m.ino()).unwrap_or(0)
    }
}
