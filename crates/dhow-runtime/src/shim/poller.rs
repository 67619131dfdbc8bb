//! The shim's one place to wait: epoll, level-triggered, with what each descriptor is.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

/// What a descriptor is; numbers name the process whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Signals,
    Listener,
    Connection,
    /// The container's memory.
    Memory,
    /// The reports of a process on its way to its program.
    Launch(u64),
    Output(u64),
    Input(u64),
    Client(u64),
    /// The server that the container's log goes to.
    LogServer,
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    /// Numbers are never used twice, so an event for something that is gone finds nothing.
    next: u64,
    sources: BTreeMap<u64, Source>,
}

impl Poller {
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            next: 1,
            sources: BTreeMap::new(),
        })
    }

    /// Names a source that is not yet waited for.
    pub fn name(&mut self, source: Source) -> u64 {
        let token = self.next;
        self.next += 1;
        self.sources.insert(token, source);
        token
    }

    pub fn forget(&mut self, token: u64) {
        self.sources.remove(&token);
    }

    pub fn source(&self, token: u64) -> Option<Source> {
        self.sources.get(&token).copied()
    }

    pub fn add(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)
    }

    pub fn modify(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags)
    }

    /// To be done before the descriptor is closed: a process that is on its way to its program has copies of
    /// the shim's descriptors, and an open file is waited for until its last copy is closed.
    pub fn remove(&self, fd: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.epoll, fd)
    }

    /// Waits for events; returns their tokens and flags, and none of them at the deadline.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Vec<(u64, EventFlags)>, Errno> {
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); 16];
        let (events, _) = rustix::io::retry_on_intr(|| {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose();
            let left = left.map_err(|_| Errno::INVAL)?;
            epoll::wait(&self.epoll, &mut space, left.as_ref())
                .map(|(events, rest)| (events.to_vec(), rest.len()))
        })?;
        Ok(events
            .into_iter()
            .map(|event| (event.data.u64(), event.flags))
            .collect())
    }
}
