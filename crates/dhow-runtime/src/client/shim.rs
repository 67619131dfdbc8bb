//! A shim's handle: all that a daemon asks of a running container.
//!
//! Every call takes [`PATIENCE`] at most, an exec [`EXEC_PATIENCE`]; the error is then `TimedOut`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::connection::{Shared, read_events};
use super::{EXEC_PATIENCE, PATIENCE};
use crate::protocol::{
    AttachStreams, Command, ExecRequest, ExitRecord, Failure, Reply, StartError, Started, Target,
    VERSION,
};
use crate::{shim, sys};

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

impl Shim {
    /// Connects to a running container's shim after a restart of the daemon; the second value is `None`
    /// for a container that is still being started. `NotFound` and `ConnectionRefused` mean that no shim
    /// listens: see [`super::reach`], which says what that means.
    pub async fn connect(runtime_dir: &Path, id: &str) -> io::Result<(Shim, Option<Started>)> {
        let socket = shim::socket::connect(runtime_dir, id)?;
        let pid = sys::peer_pid(&socket)?;
        let shim = Shim::over(socket)?;
        shim.set_pid(pid);
        let hello = Command::Hello { version: VERSION };
        match shim.call(&hello, &[], Vec::new(), PATIENCE).await {
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
                    shim.handle.shared.state().exits.ended(target, record);
                }
                Ok((shim, started))
            }
            Ok(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
            Err(failure) => Err(failure.into_io()),
        }
    }

    pub(super) fn over(socket: OwnedFd) -> io::Result<Shim> {
        let shared = Arc::new(Shared::new(socket)?);
        let reader = tokio::spawn(read_events(shared.clone()));
        Ok(Shim {
            handle: Arc::new(Handle { shared, reader }),
        })
    }

    pub(super) fn set_pid(&self, pid: u32) {
        self.handle.shared.pid.store(pid, Ordering::Relaxed);
    }

    /// The shim's process, where it is known.
    pub fn pid(&self) -> Option<u32> {
        let pid = self.handle.shared.pid.load(Ordering::Relaxed);
        (pid != 0).then_some(pid)
    }

    /// How the container's process ended, as soon as it has.
    ///
    /// The sender goes away without a value when the connection breaks. That is not the container's end, nor
    /// even the shim's: a shim that was killed leaves the container's processes running, one that is merely
    /// cut off has them, and one that ended by itself has written the exit record. [`super::reach`] tells.
    pub fn exit(&self) -> watch::Receiver<Option<ExitRecord>> {
        self.exit_of(Target::Init)
    }

    /// As [`Shim::exit`], of an exec. To be asked for before the end has been told to all who had asked: an
    /// exec that everybody has been told of is forgotten. The sender also goes away when the exec fails.
    pub fn exec_exit(&self, exec_id: &str) -> watch::Receiver<Option<ExitRecord>> {
        self.exit_of(Target::Exec(exec_id.to_owned()))
    }

    /// How often the container has run out of memory, as far as this connection was told.
    pub fn ooms(&self) -> watch::Receiver<u64> {
        self.handle.shared.state().ooms.subscribe()
    }

    /// How often the log's server was found to be away, as far as this connection was told.
    pub fn servers_away(&self) -> watch::Receiver<u64> {
        self.handle.shared.state().servers_away.subscribe()
    }

    /// Whether a process is known to have ended, as of now: what the shim has said so far has been taken in.
    /// Of a shim whose connection is broken no more will be known than that.
    pub async fn has_ended(&self, target: Target) -> bool {
        let ended = || self.handle.shared.state().exits.has_ended(&target);
        if ended() {
            return true;
        }
        // The answer comes behind all that was sent before it.
        let hello = Command::Hello { version: VERSION };
        match self.call(&hello, &[], Vec::new(), PATIENCE).await {
            Ok(_) => ended(),
            Err(failure) => failure.into_io().kind() != io::ErrorKind::TimedOut,
        }
    }

    fn exit_of(&self, target: Target) -> watch::Receiver<Option<ExitRecord>> {
        let mut state = self.handle.shared.state();
        if state.closed {
            return watch::Sender::new(None).subscribe();
        }
        state.exits.subscribe(target)
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
    /// A caller that gives up leaves it to run, as Docker does.
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
        let target = Target::Exec(req.exec_id.clone());
        let command = Command::Exec(Box::new(req));
        self.handle.shared.state().exits.expect(target.clone());
        let fds = stream.iter().map(AsFd::as_fd).collect();
        let failure = match self.call(&command, &[], fds, EXEC_PATIENCE).await {
            Ok(Reply::Started(started)) => return Ok(started),
            Ok(_) => StartError::Other("the shim answered something else than was asked".into()),
            Err(Failure::Start(error)) => error,
            Err(failure @ Failure::Os(libc::ETIMEDOUT)) => {
                self.give_up(target.clone());
                StartError::Other(format!(
                    "the container's shim has not answered within {} seconds: {}",
                    EXEC_PATIENCE.as_secs(),
                    failure.into_io()
                ))
            }
            Err(failure @ Failure::Os(_)) => StartError::Other(format!(
                "cannot reach the container's shim: {}",
                failure.into_io()
            )),
        };
        self.handle.shared.state().exits.forget(&target);
        Err(failure)
    }

    /// A shim that comes to an exec after all that nobody waits for any more is to end it.
    fn give_up(&self, target: Target) {
        let shim = self.clone();
        tokio::spawn(async move {
            // Whether it gets the message is all that can be hoped for.
            let _ = shim.signal(target, libc::SIGKILL).await;
        });
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

    /// Takes away all that the container has logged. ENOSYS from a shim that is too old for this.
    pub async fn clear_log(&self) -> io::Result<()> {
        self.done(Command::ClearLog, Vec::new()).await
    }

    /// Hands over what the shim is to keep open from now on, in place of all that it was given before, until the container
    /// ends. ENOSYS from a shim that is too old for this.
    pub async fn hold(&self, fds: &[OwnedFd]) -> io::Result<()> {
        let fds = fds.iter().map(AsFd::as_fd).collect();
        self.done(Command::Hold, fds).await
    }

    /// Duplicates of what the shim keeps open: the `held` of the start, or what [`Shim::hold`] replaced them by. None
    /// after the container's end, and from a shim that is too old for this.
    pub async fn held(&self) -> io::Result<Vec<OwnedFd>> {
        let shared = &self.handle.shared;
        let answer = shared.call(&Command::Held, &[], Vec::new(), PATIENCE);
        match answer.await {
            Ok((_, fds)) => Ok(fds),
            Err(Failure::Os(libc::ENOSYS)) => Ok(Vec::new()),
            Err(failure) => Err(failure.into_io()),
        }
    }

    /// What the name of the log's server means now. ENOSYS from a shim that is too old for this.
    pub async fn set_log_addresses(&self, addresses: Vec<SocketAddr>) -> io::Result<()> {
        self.done(Command::LogAddresses { addresses }, Vec::new())
            .await
    }

    /// The exit record has been taken over: the shim may end, and has cleared away its container's remains when this has
    /// succeeded. One that is gone, by itself or by force, may have left them.
    pub async fn release(&self) -> io::Result<()> {
        self.done(Command::Release, Vec::new()).await
    }

    async fn done(&self, command: Command, fds: Vec<BorrowedFd<'_>>) -> io::Result<()> {
        self.call(&command, &[], fds, PATIENCE)
            .await
            .map(drop)
            .map_err(Failure::into_io)
    }

    pub(super) async fn call(
        &self,
        command: &Command,
        blob: &[u8],
        fds: Vec<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let shared = &self.handle.shared;
        let answer = shared.call(command, blob, fds, patience).await;
        answer.map(|(reply, _)| reply)
    }

    /// Ends the connection at once, whoever else has a handle to it.
    pub(super) fn hang_up(&self) {
        self.handle.shared.hang_up();
    }
}
