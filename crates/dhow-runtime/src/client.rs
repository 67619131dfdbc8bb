//! The daemon's side: handles to the spawner and to the shims.
//!
//! A [`Shim`] is one connection. What a shim says comes to a task that the handle owns and that ends with
//! its last clone; dropping a handle never touches the container.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use crate::packet::{self, Outgoing};
use crate::protocol::{
    AttachStreams, Command, Event, ExecRequest, ExitRecord, Failure, Reply, Request, StartError,
    StartRequest, Started, Target, VERSION,
};
use crate::{seccomp, shim, spawner};

/// The spawner, forked and not yet in use.
pub struct SpawnerProcess {
    socket: OwnedFd,
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
    Ok(SpawnerProcess {
        socket: spawner::fork()?,
    })
}

impl SpawnerProcess {
    /// To be called within a tokio runtime.
    pub fn into_handle(self) -> io::Result<Spawner> {
        rustix::io::ioctl_fionbio(&self.socket, true)?;
        Ok(Spawner {
            socket: Arc::new(register(self.socket)?),
        })
    }
}

#[derive(Clone)]
pub struct Spawner {
    socket: Arc<AsyncFd<OwnedFd>>,
}

impl Spawner {
    /// Starts a container. Returns when its process has been exec'ed, or why it could not be; then nothing
    /// of it is left. `attach` has one stream for each of `req.attach`; `held` stays open as long as the
    /// container runs.
    pub async fn start(
        &self,
        req: StartRequest,
        netns: Option<OwnedFd>,
        attach: Vec<OwnedFd>,
        held: Vec<OwnedFd>,
    ) -> Result<(Shim, Started), StartError> {
        self.start_with(req, netns, attach, held, false).await
    }

    /// As [`Spawner::start`], and [`Started::phases`] tells where the time went.
    pub async fn start_traced(
        &self,
        req: StartRequest,
        netns: Option<OwnedFd>,
        attach: Vec<OwnedFd>,
        held: Vec<OwnedFd>,
    ) -> Result<(Shim, Started), StartError> {
        self.start_with(req, netns, attach, held, true).await
    }

    async fn start_with(
        &self,
        mut req: StartRequest,
        netns: Option<OwnedFd>,
        attach: Vec<OwnedFd>,
        held: Vec<OwnedFd>,
        trace: bool,
    ) -> Result<(Shim, Started), StartError> {
        if attach.len() != req.attach.len() {
            return Err(StartError::Other(
                "each attached client needs one stream".into(),
            ));
        }
        req.has_netns = netns.is_some();
        req.held_fds = held.len();
        let program = match req
            .spec
            .linux_mut()
            .as_mut()
            .and_then(|linux| linux.seccomp_mut().take())
        {
            Some(filter) => seccomp::program(&filter)
                .map_err(|error| StartError::Other(format!("seccomp: {error}")))?,
            None => Arc::from([]),
        };
        let other = |error: io::Error| {
            StartError::Other(format!(
                "cannot reach the shim of container {}: {error}",
                req.id
            ))
        };
        let socket = self.fork_shim().await.map_err(|error| {
            StartError::Other(format!(
                "cannot reach the spawner, is the daemon shutting down? {error}"
            ))
        })?;
        let shim = Shim::over(socket).map_err(other)?;
        let fds: Vec<BorrowedFd<'_>> = netns
            .iter()
            .chain(&attach)
            .chain(&held)
            .map(AsFd::as_fd)
            .collect();
        let id = req.id.clone();
        let command = Command::Start {
            version: VERSION,
            request: Box::new(req),
            trace,
        };
        match shim.call(command, &program, fds).await {
            Ok(Reply::Started(started)) => Ok((shim, started)),
            Ok(_) => Err(StartError::Other(
                "the shim answered something else than was asked".into(),
            )),
            Err(Failure::Start(error)) => Err(error),
            Err(Failure::Os(code)) => {
                let error = io::Error::from_raw_os_error(code);
                Err(StartError::Other(format!(
                    "the shim of container {id} ended before the container had started: {error}"
                )))
            }
        }
    }

    /// Has the spawner fork a shim; the result is the daemon's end of the connection to it.
    async fn fork_shim(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let mut packet = Outgoing::new(&[], &[], vec![theirs.as_fd()])?;
        self.socket
            .async_io(Interest::WRITABLE, |socket| packet.send(socket))
            .await?;
        Ok(ours)
    }
}

/// The connection to one shim.
#[derive(Clone)]
pub struct Shim {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Shared {
    socket: AsyncFd<OwnedFd>,
    /// A packet's datagrams follow one another: one sender at a time.
    sending: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    pending: HashMap<u64, oneshot::Sender<Result<Reply, Failure>>>,
    exits: HashMap<Target, watch::Sender<Option<ExitRecord>>>,
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shim {
    /// Connects to a running container's shim after a restart of the daemon; the second value is `None`
    /// for a container that is still being started. `NotFound` and `ConnectionRefused` mean that there is
    /// no shim any more: see [`crate::read_exit_record`], and without one [`crate::cgroup::Cgroup::kill`] and `remove`.
    pub async fn connect(runtime_dir: &Path, id: &str) -> io::Result<(Shim, Option<Started>)> {
        let shim = Shim::over(shim::socket::connect(runtime_dir, id)?)?;
        match shim
            .call(Command::Hello { version: VERSION }, &[], Vec::new())
            .await
        {
            Ok(Reply::Welcome {
                version,
                started,
                exited,
            }) => {
                if version > VERSION {
                    return Err(io::Error::other(format!(
                        "the shim of container {id} speaks version {version} of its protocol, this daemon knows up to {VERSION}"
                    )));
                }
                for (target, record) in exited {
                    shim.watch(target).send_replace(Some(record));
                }
                Ok((shim, started))
            }
            Ok(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
            Err(failure) => Err(failure.into_io()),
        }
    }

    fn over(socket: OwnedFd) -> io::Result<Shim> {
        let shared = Arc::new(Shared {
            socket: register(socket)?,
            sending: tokio::sync::Mutex::new(()),
            numbers: AtomicU64::new(1),
            state: Mutex::default(),
        });
        shared
            .state()
            .exits
            .insert(Target::Init, watch::Sender::new(None));
        let reader = tokio::spawn(read_events(shared.clone()));
        Ok(Shim {
            handle: Arc::new(Handle { shared, reader }),
        })
    }

    /// How the container's process ended, as soon as it has. The sender goes away without a value when the
    /// shim itself is gone: then the exit record in the bundle, if there is one, is the answer.
    pub fn exit(&self) -> watch::Receiver<Option<ExitRecord>> {
        self.exit_of(Target::Init)
    }

    /// As [`Shim::exit`], of an exec.
    pub fn exec_exit(&self, exec_id: &str) -> watch::Receiver<Option<ExitRecord>> {
        self.exit_of(Target::Exec(exec_id.to_owned()))
    }

    /// Whether a process has ended, as of now: what the shim has said so far has been taken in. A shim that
    /// is gone has nothing that runs.
    pub async fn has_ended(&self, target: Target) -> bool {
        let exit = self.exit_of(target);
        if exit.borrow().is_some() {
            return true;
        }
        // The answer comes behind all that was sent before it.
        match self
            .call(Command::Hello { version: VERSION }, &[], Vec::new())
            .await
        {
            Ok(_) => exit.borrow().is_some(),
            Err(_) => true,
        }
    }

    fn exit_of(&self, target: Target) -> watch::Receiver<Option<ExitRecord>> {
        let mut state = self.handle.shared.state();
        match state.exits.get(&target) {
            Some(sender) => sender.subscribe(),
            None => {
                let sender = watch::Sender::new(None);
                let receiver = sender.subscribe();
                if !state.closed {
                    state.exits.insert(target, sender);
                }
                receiver
            }
        }
    }

    fn watch(&self, target: Target) -> watch::Sender<Option<ExitRecord>> {
        self.handle
            .shared
            .state()
            .exits
            .entry(target)
            .or_default()
            .clone()
    }

    /// Hands the shim one end of a stream socket. Output from now on goes there; the shim closes it when
    /// the process's output has ended.
    pub async fn attach(
        &self,
        target: Target,
        streams: AttachStreams,
        stream: OwnedFd,
    ) -> io::Result<()> {
        self.done(Command::Attach { target, streams }, vec![stream.as_fd()])
            .await
    }

    /// Starts a further process in the container. Returns when it has been exec'ed, or why it could not be.
    pub async fn exec(
        &self,
        req: ExecRequest,
        stream: Option<OwnedFd>,
    ) -> Result<Started, StartError> {
        if req.attach.is_some() != stream.is_some() {
            return Err(StartError::Other(
                "an attached client needs a stream".into(),
            ));
        }
        let fds = stream.iter().map(AsFd::as_fd).collect();
        match self.call(Command::Exec(Box::new(req)), &[], fds).await {
            Ok(Reply::Started(started)) => Ok(started),
            Ok(_) => Err(StartError::Other(
                "the shim answered something else than was asked".into(),
            )),
            Err(Failure::Start(error)) => Err(error),
            Err(failure @ Failure::Os(_)) => Err(StartError::Other(format!(
                "cannot reach the container's shim: {}",
                failure.into_io()
            ))),
        }
    }

    /// `NotFound` (ESRCH) when the process has ended.
    pub async fn signal(&self, target: Target, signal: i32) -> io::Result<()> {
        self.done(Command::Signal { target, signal }, Vec::new())
            .await
    }

    pub async fn resize(&self, target: Target, rows: u16, cols: u16) -> io::Result<()> {
        self.done(Command::Resize { target, rows, cols }, Vec::new())
            .await
    }

    pub async fn close_stdin(&self, target: Target) -> io::Result<()> {
        self.done(Command::CloseStdin { target }, Vec::new()).await
    }

    /// The exit record has been taken over: the shim may end.
    pub async fn release(&self) -> io::Result<()> {
        match self.done(Command::Release, Vec::new()).await {
            // It ended by itself in between, which is what was asked for.
            Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => Ok(()),
            result => result,
        }
    }

    async fn done(&self, command: Command, fds: Vec<BorrowedFd<'_>>) -> io::Result<()> {
        self.call(command, &[], fds)
            .await
            .map(drop)
            .map_err(Failure::into_io)
    }

    async fn call(
        &self,
        command: Command,
        blob: &[u8],
        fds: Vec<BorrowedFd<'_>>,
    ) -> Result<Reply, Failure> {
        let shared = &self.handle.shared;
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let json = serde_json::to_vec(&Request { number, command })
            .map_err(|_| Failure::Os(libc::EINVAL))?;
        let (answer, answered) = oneshot::channel();
        {
            let mut state = shared.state();
            if state.closed {
                return Err(Failure::Os(libc::ECONNRESET));
            }
            state.pending.insert(number, answer);
        }
        let sent = async {
            let mut packet = Outgoing::new(&json, blob, fds)?;
            let _turn = shared.sending.lock().await;
            shared
                .socket
                .async_io(Interest::WRITABLE, |socket| packet.send(socket))
                .await
        };
        if let Err(error) = sent.await {
            shared.state().pending.remove(&number);
            return Err(Failure::Os(match error.raw_os_error() {
                Some(libc::EPIPE) | None => libc::ECONNRESET,
                Some(code) => code,
            }));
        }
        answered.await.unwrap_or(Err(Failure::Os(libc::ECONNRESET)))
    }
}

fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it lives.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }
        .map_err(Into::into)
}

async fn read_events(shared: Arc<Shared>) {
    while let Ok(Some(packet)) = shared
        .socket
        .async_io(Interest::READABLE, |socket| packet::receive(socket))
        .await
    {
        match serde_json::from_slice(&packet.json) {
            Ok(Event::Reply { number, result }) => {
                if let Some(waiter) = shared.state().pending.remove(&number) {
                    // A caller that went away has no use for the answer.
                    let _ = waiter.send(result);
                }
            }
            Ok(Event::Exited { target, record }) => {
                shared
                    .state()
                    .exits
                    .entry(target)
                    .or_default()
                    .send_replace(Some(record));
            }
            Err(error) => {
                tracing::warn!(%error, "a shim sent a message that this daemon does not know");
            }
        }
    }
    let mut state = shared.state();
    state.closed = true;
    state.pending.clear();
    state.exits.clear();
}

impl Failure {
    fn into_io(self) -> io::Error {
        match self {
            Failure::Os(code) => io::Error::from_raw_os_error(code),
            Failure::Start(error) => io::Error::other(error),
        }
    }
}
