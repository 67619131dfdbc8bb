//! The kernel's settings of a network namespace, below `/proc/sys/net`.
//!
//! The kernel keeps the name of a setting once for each namespace in which it was ever looked up, all in one chain that each
//! look-up walks (`proc_sys_compare`): with 1,500 namespaces a write takes a millisecond. A file system of our own has a chain
//! of its own, and is given up before that is long.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Docker's defaults for a namespace of a container's own: any user may listen on any port and send ICMP echoes. And one that
/// is stricter: neighbours can't tell a container of IPv6 routers.
const OF_CONTAINERS: [(&str, &str); 3] = [
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// How many namespaces are looked at in one file system.
const NAMESPACES: u32 = 32;

/// The way to the settings.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    proc: Option<OwnedFd>,
    left: u32,
}

impl Switches {
    /// Gives the calling thread's namespace, which is new, what containers are to have. What can't be set is passed over: a
    /// read-only /proc/sys keeps the kernel's stricter defaults, and containers run all the same.
    pub fn set(&mut self) {
        if self.left == 0 {
            self.proc = own_proc()
                .inspect_err(
                    |error| tracing::debug!(%error, "no file system of our own for settings"),
                )
                .ok();
            self.left = NAMESPACES;
        }
        self.left -= 1;
        for (name, value) in OF_CONTAINERS {
            if let Err(error) = self.write(name, value) {
                tracing::debug!(name, %error, "cannot set a container's network default");
            }
        }
    }

    /// Gives a setting of the calling thread's namespace a value. `name` is below `/proc/sys/net`.
    pub fn write(&self, name: &str, value: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match &self.proc {
            Some(proc) => rustix::fs::openat(proc, format!("sys/net/{name}"), flags, Mode::empty()),
            None => rustix::fs::open(format!("/proc/sys/net/{name}"), flags, Mode::empty()),
        }?;
        rustix::io::write(&file, value.as_bytes())?;
        Ok(())
    }
}

/// A proc(5) that is mounted nowhere.
fn own_proc() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

#[cfg(test)]
mod tests {
    use rustix::thread::UnshareFlags;

    use super::*;

    #[test]
    fn each_namespace_has_them() {
        std::thread::spawn(|| {
            let mut switches = Switches::default();
            // One more than are looked at in one file system.
            for _ in 0..=NAMESPACES {
                // SAFETY: only this thread's network namespace changes.
                unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
                switches.set();
                assert!(switches.proc.is_some());
                for (name, value) in OF_CONTAINERS {
                    let path = format!("/proc/sys/net/{name}");
                    let set = std::fs::read_to_string(path).unwrap();
                    let words: Vec<_> = set.split_whitespace().collect();
                    assert_eq!(words.join(" "), value, "{name}");
                }
            }
        })
        .join()
        .unwrap();
    }
}
