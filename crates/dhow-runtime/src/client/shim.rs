//! A shim's handle: all that a daemon asks of a running container.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::connection::{Shared, read_events};
use crate::protocol::{
    AttachStreams, Command, ExecRequest, ExitRecord, Failure, Reply, StartError, Started, Target,
    VERSION,
};
use crate::shim;

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

    pub(super) fn over(socket: OwnedFd) -> io::Result<Shim> {
        let shared = Arc::new(Shared::new(socket)?);
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

    pub(super) async fn call(
        &self,
        command: Command,
        blob: &[u8],
        fds: Vec<BorrowedFd<'_>>,
    ) -> Result<Reply, Failure> {
        self.handle.shared.call(command, blob, fds).await
    }
}
