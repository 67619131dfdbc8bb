//! Starting a container.
//!
//! A start that does not come to an answer is undone from here: a shim that was killed on the way leaves
//! what it has made, and one that does not answer must not go on with it unseen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::{START_PATIENCE, Shim, Spawner, end_shim};
use crate::cgroup::Cgroup;
use crate::protocol::{
    Command, Failure, Joined, Reply, StartError, StartRequest, Started, VERSION,
};
use crate::seccomp;

/// The descriptors that a start is given.
#[derive(Debug, Default)]
pub struct Handed {
    /// The container's network namespace.
    pub netns: Option<OwnedFd>,
    /// What is shared, each with a pidfd of the process that it is shared with.
    pub joined: Vec<(Joined, OwnedFd)>,
    /// One stream for each of [`StartRequest::attach`].
    pub attach: Vec<OwnedFd>,
    /// What stays open as long as the container runs.
    pub held: Vec<OwnedFd>,
}

impl Spawner {
    /// Starts a container. Returns when its process has been exec'ed, or why it could not be; then nothing
    /// of it is left.
    ///
    /// Takes [`START_PATIENCE`] at most, and the time to undo it then. A caller that gives up itself leaves a
    /// container that may come to run: [`super::reach`] finds it.
    pub async fn start(
        &self,
        req: StartRequest,
        handed: Handed,
    ) -> Result<(Shim, Started), StartError> {
        self.start_with(req, handed, false).await
    }

    /// As [`Spawner::start`], and [`Started::phases`] tells where the time went.
    pub async fn start_traced(
        &self,
        req: StartRequest,
        handed: Handed,
    ) -> Result<(Shim, Started), StartError> {
        self.start_with(req, handed, true).await
    }

    async fn start_with(
        &self,
        mut req: StartRequest,
        handed: Handed,
        trace: bool,
    ) -> Result<(Shim, Started), StartError> {
        let Handed {
            netns,
            joined,
            attach,
            held,
        } = handed;
        if attach.len() != req.attach.len() {
            return Err(StartError::Other(
                "each attached client needs one stream".into(),
            ));
        }
        req.has_netns = netns.is_some();
        req.joined = joined.iter().map(|(what, _)| *what).collect();
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
        let fds: Vec<BorrowedFd<'_>> = netns
            .iter()
            .chain(joined.iter().map(|(_, with)| with))
            .chain(&attach)
            .chain(&held)
            .map(AsFd::as_fd)
            .collect();
        let made = Made::of(&req);
        let command = Command::Start {
            version: VERSION,
            request: Box::new(req),
            trace,
        };
        let mut again = true;
        loop {
            let (socket, origin) = self.fork_shim().await.map_err(|error| {
                StartError::Other(format!(
                    "cannot reach the spawner, is the daemon shutting down? {error}"
                ))
            })?;
            let shim = Shim::over(socket).map_err(|error| {
                StartError::Other(format!(
                    "cannot reach the shim of container {}: {error}",
                    made.id
                ))
            })?;
            let answer = shim.call(&command, &program, fds.clone(), START_PATIENCE);
            let code = match answer.await {
                Ok(Reply::Started(started)) => {
                    shim.set_pid(started.shim_pid);
                    return Ok((shim, started));
                }
                Ok(_) => {
                    return Err(StartError::Other(
                        "the shim answered something else than was asked".into(),
                    ));
                }
                Err(Failure::Start(error)) => return Err(error),
                Err(Failure::Os(code)) => code,
            };
            if matches!(code, libc::ECONNRESET | libc::ETIMEDOUT) {
                made.undo(&shim).await;
            }
            if code == libc::ECONNRESET && again && self.is_lost(&origin) {
                // What there was is undone.
                again = false;
                continue;
            }
            return Err(StartError::Other(match code {
                libc::ETIMEDOUT => format!(
                    "the shim of container {} has not answered within {} seconds and was ended: is a filesystem of its mounts or its log out of reach?",
                    made.id,
                    START_PATIENCE.as_secs()
                ),
                libc::ECONNRESET => format!(
                    "the shim of container {} ended before the container had started: is there no process or memory to be had, by the limits of the host or of the daemon's control group?",
                    made.id
                ),
                code => format!(
                    "the shim of container {} ended before the container had started: {}",
                    made.id,
                    io::Error::from_raw_os_error(code)
                ),
            }));
        }
    }
}

/// What a start makes that is found again without its shim.
struct Made {
    id: String,
    runtime_dir: PathBuf,
    cgroup: Option<String>,
}

impl Made {
    fn of(request: &StartRequest) -> Self {
        let linux = request.spec.linux().as_ref();
        let cgroup = linux.and_then(|linux| linux.cgroups_path().as_ref());
        Self {
            id: request.id.clone(),
            runtime_dir: request.runtime_dir.clone(),
            cgroup: cgroup.map(|path| path.to_string_lossy().into_owned()),
        }
    }

    /// First the connection: a shim that has not let its init go on looks whether it is still there, and does
    /// not. Then the shim, then what it has started.
    async fn undo(&self, shim: &Shim) {
        shim.hang_up();
        let (id, runtime_dir, cgroup) = (
            self.id.clone(),
            self.runtime_dir.clone(),
            self.cgroup.clone(),
        );
        let undone = tokio::task::spawn_blocking(move || {
            let ended = end_shim(&runtime_dir, &id);
            let removed = cgroup.map_or(Ok(()), |path| {
                let cgroup = Cgroup::open(&path)?;
                cgroup.kill()?;
                cgroup.remove()
            });
            ended.and(removed)
        });
        let undone = undone.await.map_err(io::Error::other);
        if let Err(error) = undone.and_then(|undone| undone) {
            tracing::error!(container = self.id, %error, "what its start has made could not be undone");
        }
    }
}
