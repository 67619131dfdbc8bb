//! The spawner's handle: keeping a spawner there.
//!
//! Its end is noticed at once and said, and a new one takes its place. The daemon has threads by then and can't
//! fork without an exec, so the new one is a program that is executed: the daemon's own, with another face.
//! Containers and their shims are not touched by a spawner's end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::connection::register;
use crate::packet::Outgoing;
use crate::{spawner, sys};

/// A spawner that was executed and ends earlier than this has something in its way: it is replaced when one is
/// needed, and not over and over.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// When the next spare shim is forked: the start that has taken the last one needs the processors more.
const SPARE_AFTER: Duration = Duration::from_millis(6);

/// How long it waits for a start: at rest there is none.
const SPARE_FOR: Duration = Duration::from_secs(5);

/// The spawner, forked and not yet in use.
pub struct SpawnerProcess {
    socket: OwnedFd,
    pid: i32,
}

/// Forks the spawner. To be called before the process has any other thread, and before any runtime exists.
/// The spawner ends when the last handle to it is gone.
pub fn fork_spawner() -> io::Result<SpawnerProcess> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!(
            "the spawner must be forked before any thread exists, and there are {threads}"
        )));
    }
    let (socket, pid) = spawner::fork()?;
    Ok(SpawnerProcess { socket, pid })
}

impl SpawnerProcess {
    /// A handle to a spawner that is not replaced when it ends. To be called within a tokio runtime.
    pub fn into_handle(self) -> io::Result<Spawner> {
        self.handle(None)
    }

    /// As [`SpawnerProcess::into_handle`]; a spawner that ends is replaced by a process of the command that
    /// `replacement` gives, which must come to [`crate::spawner_main`]. Its standard input is set here.
    pub fn into_handle_with(self, replacement: fn() -> Command) -> io::Result<Spawner> {
        self.handle(Some(replacement))
    }

    fn handle(self, replacement: Option<fn() -> Command>) -> io::Result<Spawner> {
        rustix::io::ioctl_fionbio(&self.socket, true)?;
        let keeper = Arc::new(Keeper {
            current: watch::Sender::new(Current::new(self.socket, self.pid, 0)?),
            replacement,
            replacing: tokio::sync::Mutex::new(()),
        });
        let watcher = tokio::spawn(watch_over(keeper.clone()));
        Ok(Spawner {
            handle: Arc::new(Handle {
                keeper,
                watcher,
                spare: Mutex::default(),
            }),
        })
    }
}

#[derive(Clone)]
pub struct Spawner {
    handle: Arc<Handle>,
}

struct Handle {
    keeper: Arc<Keeper>,
    watcher: tokio::task::JoinHandle<()>,
    spare: Mutex<Spare>,
}

impl Handle {
    fn spare(&self) -> MutexGuard<'_, Spare> {
        // Each change is a single assignment, or complete before the next.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shim that was forked ahead of the start that it is for, and waits for that. It ends with its connection.
#[derive(Default)]
struct Spare {
    socket: Option<OwnedFd>,
    /// How many there have been.
    number: u64,
    /// One is under way.
    preparing: bool,
}

impl Spare {
    fn fill(&mut self, socket: Option<OwnedFd>) -> u64 {
        self.preparing = false;
        self.socket = socket;
        self.number += 1;
        self.number
    }

    fn empty(&mut self, number: u64) {
        if self.number == number {
            self.socket = None;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// The spawner that there is.
#[derive(Clone)]
pub(super) struct Current {
    socket: Arc<AsyncFd<OwnedFd>>,
    pid: i32,
    generation: u64,
    since: Instant,
}

impl Current {
    fn new(socket: OwnedFd, pid: i32, generation: u64) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::new(register(socket)?),
            pid,
            generation,
            since: Instant::now(),
        })
    }

    fn has_ended(&self) -> bool {
        has_ended(self.socket.get_ref()).is_ok()
    }

    async fn send(&self, packet: &mut Outgoing<BorrowedFd<'_>>) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, |socket| packet.send(socket))
            .await
    }
}

/// A spawner says nothing, ever: there is only the end to be read. `WouldBlock` until then.
fn has_ended(socket: &OwnedFd) -> io::Result<()> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(socket, &mut [0u8; 1], flags) {
        Err(rustix::io::Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

struct Keeper {
    current: watch::Sender<Current>,
    replacement: Option<fn() -> Command>,
    replacing: tokio::sync::Mutex<()>,
}

impl Keeper {
    fn current(&self) -> Current {
        self.current.borrow().clone()
    }

    /// Puts a new spawner in the place of one that has ended, unless that has been done. Whoever waits for it
    /// may give up: it is done all the same.
    async fn replace(self: Arc<Self>, ended: Current) -> io::Result<()> {
        let replaced = tokio::spawn(async move {
            let _turn = self.replacing.lock().await;
            if self.current().generation != ended.generation {
                return Ok(());
            }
            let Some(replacement) = self.replacement else {
                blocking(move || sys::reap(ended.pid, true)).await?;
                return Err(io::Error::other("it has ended, restart the daemon"));
            };
            let (socket, pid) = blocking(move || execute(replacement())).await?;
            tracing::info!(pid, "a new spawner has been started");
            self.current
                .send_replace(Current::new(socket, pid, ended.generation + 1)?);
            // Its socket is closed, so it is at its end already.
            blocking(move || sys::reap(ended.pid, true)).await.map(drop)
        });
        replaced.await.map_err(io::Error::other)?
    }

    /// Has the spawner fork a shim, or another if that has ended.
    async fn fork_shim(self: Arc<Self>) -> io::Result<(OwnedFd, Current)> {
        let current = self.current();
        match fork_shim_of(&current).await {
            Err(_) if current.has_ended() => {
                self.clone().replace(current).await?;
                let current = self.current();
                let shim = fork_shim_of(&current).await?;
                Ok((shim, current))
            }
            result => result.map(|shim| (shim, current)),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Executes a spawner; the result is the daemon's end of the connection to it.
fn execute(mut command: Command) -> io::Result<(OwnedFd, i32)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    // The only descriptor of the daemon's that it gets; of its own accord it lets go of the other two.
    let child = command.stdin(Stdio::from(theirs)).spawn()?;
    Ok((ours, child.id() as i32))
}

async fn watch_over(keeper: Arc<Keeper>) {
    let mut changes = keeper.current.subscribe();
    loop {
        let current = changes.borrow_and_update().clone();
        let ended = current.socket.async_io(Interest::READABLE, has_ended);
        if let Err(error) = ended.await {
            tracing::error!(%error, "the spawner can't be watched");
            return;
        }
        tracing::error!(
            pid = current.pid,
            "the spawner has ended, though the daemon has not; containers run on"
        );
        if (current.generation == 0 || current.since.elapsed() >= SHORT_LIFE)
            && let Err(error) = keeper.clone().replace(current).await
        {
            tracing::error!(%error, "the spawner could not be replaced");
        }
        // By this task, or else by the next start.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Where a shim comes from.
pub(super) enum Origin {
    /// It was there before the start was asked for.
    Spare,
    /// This spawner was asked for it.
    Forked(Current),
}

impl Spawner {
    /// A shim for a start: the spare one, or one that the spawner forks now. The result is the daemon's end of
    /// the connection to it.
    pub(super) async fn fork_shim(&self) -> io::Result<(OwnedFd, Origin)> {
        let spare = self.handle.spare().socket.take();
        self.prepare_spare();
        if let Some(socket) = spare.filter(|socket| has_ended(socket).is_err()) {
            return Ok((socket, Origin::Spare));
        }
        let (socket, spawner) = self.handle.keeper.clone().fork_shim().await?;
        Ok((socket, Origin::Forked(spawner)))
    }

    /// Has a shim forked for the next start, unless that is under way. It goes again when none comes.
    fn prepare_spare(&self) {
        {
            let mut spare = self.handle.spare();
            if spare.preparing {
                return;
            }
            spare.preparing = true;
        }
        let handle = Arc::downgrade(&self.handle);
        tokio::spawn(async move {
            tokio::time::sleep(SPARE_AFTER).await;
            let Some(keeper) = handle.upgrade().map(|handle| handle.keeper.clone()) else {
                return;
            };
            // The next start does without one, and says what is wrong.
            let forked = keeper.fork_shim().await.ok().map(|(socket, _)| socket);
            let Some(number) = handle.upgrade().map(|handle| handle.spare().fill(forked)) else {
                return;
            };
            tokio::time::sleep(SPARE_FOR).await;
            if let Some(handle) = handle.upgrade() {
                handle.spare().empty(number);
            }
        });
    }

    /// Whether a shim for the next start is about to be forked.
    pub fn prepares(&self) -> bool {
        self.handle.spare().preparing
    }

    /// Whether a shim that ended before it said anything may be asked for once more: it was a spare one, which
    /// anything may have befallen, or was never forked because its spawner had ended.
    pub(super) fn is_lost(&self, shim: &Origin) -> bool {
        match shim {
            Origin::Spare => true,
            Origin::Forked(spawner) => {
                self.handle.keeper.replacement.is_some() && spawner.has_ended()
            }
        }
    }
}

async fn fork_shim_of(spawner: &Current) -> io::Result<OwnedFd> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let mut packet = Outgoing::new(&[], &[], vec![theirs.as_fd()])?;
    spawner.send(&mut packet).await?;
    Ok(ours)
}
