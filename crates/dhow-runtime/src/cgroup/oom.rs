//! Being told that a group has run out of memory, without asking: by an eventfd on version 1 (the kernel's
//! cgroup-v1/memory.rst, "OOM Control"), by the events file itself on version 2 (cgroup-v2.rst,
//! `memory.events`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, Version, keyed, write};

/// The file is some lines with a number each.
const LARGEST: usize = 1024;

/// What tells of a group's want of memory. It is to be given up before the group is removed, which wakes as
/// well.
pub(crate) struct OomWatch {
    fd: OwnedFd,
    version: Version,
    /// Version 2: the processes that were killed, as of the last look. Version 1: whether it ever told.
    known: u64,
}

impl OomWatch {
    /// `None` where this kernel does not tell.
    pub fn new(cgroup: &Cgroup) -> io::Result<Option<Self>> {
        let version = cgroup.layout.version();
        let controller = match version {
            Version::V1 => "memory",
            Version::V2 => "",
        };
        let Some(directory) = cgroup.directory_of(controller) else {
            return Ok(None);
        };
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::open(directory.join(name), flags, Mode::empty())
        };
        let fd = match version {
            Version::V2 => match open("memory.events") {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            Version::V1 => {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let events = rustix::event::eventfd(0, flags)?;
                let control = open("memory.oom_control")?;
                write(
                    &directory.join("cgroup.event_control"),
                    &format!("{} {}", events.as_raw_fd(), control.as_raw_fd()),
                )?;
                events
            }
        };
        Ok(Some(Self {
            fd,
            version,
            known: 0,
        }))
    }

    /// What its descriptor is to be waited for.
    pub fn interest(&self) -> EventFlags {
        match self.version {
            Version::V1 => EventFlags::IN,
            Version::V2 => EventFlags::PRI,
        }
    }

    /// Whether the group has run out of memory since the last look. An error means that no more is told.
    pub fn take(&mut self, cgroup: &Cgroup) -> io::Result<bool> {
        match self.version {
            Version::V1 => {
                let mut count = [0; 8];
                let woken = match rustix::io::read(&self.fd, &mut count) {
                    Ok(_) => true,
                    Err(Errno::AGAIN) => false,
                    Err(error) => return Err(error.into()),
                };
                // The kernel tells before it kills, and has counted what it killed before it was to tell.
                let out = woken || self.known == 0 && cgroup.oom_kills() > 0;
                self.known = self.known.max(u64::from(out));
                Ok(out)
            }
            Version::V2 => {
                let mut text = [0; LARGEST];
                let length = rustix::io::pread(&self.fd, &mut text, 0)?;
                let text = String::from_utf8_lossy(&text[..length]);
                let killed = keyed(&text, "oom_kill").unwrap_or(0);
                Ok(std::mem::replace(&mut self.known, killed) < killed)
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
