//! The spawner's handle: starting containers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Shim;
use super::connection::register;
use crate::packet::Outgoing;
use crate::protocol::{Command, Failure, Reply, StartError, StartRequest, Started, VERSION};
use crate::{seccomp, spawner};

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
