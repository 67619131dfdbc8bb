//! Making a process and following its reports up to its exec.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::PipeFlags;

use super::log::Stream;
use super::poller::Poller;
use super::streams::Streams;
use crate::init::{Report, Stdio, failed};
use crate::packet::{self, Outgoing};
use crate::protocol::StartError;
use crate::sys;

/// The shim's ends of a process's streams; a terminal's comes by report.
pub(super) struct Ends {
    stdin: Option<OwnedFd>,
    outputs: Vec<(Stream, OwnedFd)>,
}

/// Makes a process's streams: its own ends and the shim's.
pub(super) fn stdio(
    terminal: bool,
    open_stdin: bool,
    size: Option<(u16, u16)>,
) -> Result<(Stdio, Ends), StartError> {
    if terminal {
        return Ok((
            Stdio::Terminal { size },
            Ends {
                stdin: None,
                outputs: Vec::new(),
            },
        ));
    }
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("creating a pipe"));
    let (stdin_read, stdin_write) = if open_stdin {
        pipe().map(|(read, write)| (Some(read), Some(write)))?
    } else {
        (None, None)
    };
    let (stdout_read, stdout_write) = pipe()?;
    let (stderr_read, stderr_write) = pipe()?;
    let ends = Ends {
        stdin: stdin_write,
        outputs: vec![(Stream::Stdout, stdout_read), (Stream::Stderr, stderr_read)],
    };
    Ok((
        Stdio::Pipes {
            stdin: stdin_read,
            stdout: stdout_write,
            stderr: stderr_write,
        },
        ends,
    ))
}

impl Ends {
    pub fn connect(
        self,
        streams: &mut Streams,
        poller: &mut Poller,
        terminal: Option<OwnedFd>,
        open_stdin: bool,
    ) -> Result<(), StartError> {
        let what = || failed("connecting the container's streams");
        if let Some(terminal) = terminal {
            if open_stdin {
                // Waited for apart from the other direction, so it needs a number of its own.
                let input = rustix::io::fcntl_dupfd_cloexec(&terminal, 3).map_err(what())?;
                streams.set_input(poller, input).map_err(what())?;
            }
            streams
                .add_output(poller, Stream::Stdout, terminal)
                .map_err(what())?;
        }
        if let Some(stdin) = self.stdin {
            streams.set_input(poller, stdin).map_err(what())?;
        }
        for (stream, fd) in self.outputs {
            streams.add_output(poller, stream, fd).map_err(what())?;
        }
        Ok(())
    }
}

/// The socket for reports: the shim's end, and the child's.
pub(super) fn report_sockets() -> Result<(Reports, OwnedFd), StartError> {
    let what = || failed("creating a socket");
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(what())?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(what())?;
    let reports = Reports {
        socket: ours,
        launched: Launched::default(),
        ready: false,
    };
    Ok((reports, theirs))
}

/// What a child's reports came to.
#[derive(Default)]
pub(super) struct Launched {
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<String>,
    pub phases: Vec<(String, u64)>,
}

/// How far a child has come.
pub(super) enum Progress {
    Underway,
    /// It waits for hooks to be run.
    Hooks,
    /// Its program runs, or has run already.
    Executed(Launched),
    Failed(StartError),
    /// It ended on its way, without a word.
    Ended,
}

/// A child's reports, up to its exec.
pub(super) struct Reports {
    socket: OwnedFd,
    launched: Launched,
    ready: bool,
}

impl Reports {
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes in what has been reported. Never waits.
    pub fn take_in(&mut self) -> Progress {
        loop {
            let mut packet = match packet::receive(&self.socket) {
                Ok(Some(packet)) => packet,
                Ok(None) if self.ready => {
                    return Progress::Executed(std::mem::take(&mut self.launched));
                }
                Ok(None) => return Progress::Ended,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Underway;
                }
                // It ended without reading what it was told; what it had said itself still comes.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) => {
                    return Progress::Failed(failed("listening to the container's init")(error));
                }
            };
            match serde_json::from_slice(&packet.json) {
                Ok(Report::Warning(warning)) => self.launched.warnings.push(warning),
                Ok(Report::Hooks) => return Progress::Hooks,
                Ok(Report::Terminal) => self.launched.terminal = packet.fds.pop(),
                Ok(Report::Ready(phases)) => {
                    self.launched.phases = phases;
                    self.ready = true;
                }
                Ok(Report::Failed(error)) => return Progress::Failed(error),
                Err(error) => {
                    let failed = failed("understanding the container's init");
                    return Progress::Failed(failed(error));
                }
            }
        }
    }

    /// Waits for what becomes of the child; `Underway` is returned at the deadline only.
    fn wait(&mut self, deadline: Instant) -> Result<Progress, StartError> {
        loop {
            match self.take_in() {
                Progress::Underway => {}
                progress => return Ok(progress),
            }
            if !readable(&self.socket, deadline)
                .map_err(failed("waiting for the container's init"))?
            {
                return Ok(Progress::Underway);
            }
        }
    }

    /// Waits until the child has exec'ed, or says why it has not. The child is not ended here. `hooks` are run when
    /// it waits for them.
    pub fn follow(
        &mut self,
        child: &Child,
        patience: Duration,
        hooks: impl Fn() -> Result<(), StartError>,
    ) -> Result<Launched, StartError> {
        let deadline = Instant::now() + patience;
        let progress = loop {
            match self.wait(deadline)? {
                Progress::Hooks => {
                    hooks()?;
                    self.go_ahead()?;
                }
                progress => break progress,
            }
        };
        match progress {
            Progress::Executed(launched) => Ok(launched),
            Progress::Failed(error) => Err(error),
            Progress::Underway | Progress::Hooks => Err(too_slow("container init", patience)),
            Progress::Ended => {
                let ended = readable(&child.pidfd, deadline)
                    .map_err(failed("waiting for the end of the container's init"))?;
                let code = if ended {
                    sys::code_of_ended(child.pid)
                } else {
                    None
                };
                Err(ended_early("container init", code))
            }
        }
    }

    /// Tells the child that its cgroup is ready, or that its hooks have been run.
    pub fn go_ahead(&self) -> Result<(), StartError> {
        // A child that has ended meanwhile has reported why.
        match Outgoing::<OwnedFd>::new(&[], &[], Vec::new())
            .and_then(|mut packet| packet.send(&self.socket))
        {
            Err(error) if error.raw_os_error() != Some(libc::EPIPE) => {
                Err(failed("speaking to the container's init")(error))
            }
            _ => Ok(()),
        }
    }

    /// Something failed here while the child was on its way: because the child had, and has said why, or
    /// not. Ends the child, without reaping it.
    pub fn blame(&mut self, child: &Child, error: StartError) -> StartError {
        child.kill();
        match self.wait(Instant::now() + DEATH_PATIENCE) {
            Ok(Progress::Failed(reason)) => reason,
            _ => error,
        }
    }
}

/// A process on its way to its program that the shim waits for, and nothing else meanwhile.
pub(super) struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

impl Child {
    /// By SIGKILL. Of a process that is frozen or does not come back from the kernel it is the end only later.
    pub fn kill(&self) {
        // It may have ended, and be reaped, already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }

    /// Kills and reaps it, unless it does not end in time: nobody waits for such a process for ever.
    pub fn end(&self) {
        self.kill();
        if readable(&self.pidfd, Instant::now() + DEATH_PATIENCE).is_ok_and(|ended| ended) {
            // It may have been reaped when it ended by itself.
            let _ = sys::reap(self.pid, false);
        }
    }
}

/// How long a process may take to end that was killed; it takes longer only where the kernel holds it.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until a descriptor can be read, or the deadline, and returns which it was.
fn readable(fd: &OwnedFd, deadline: Instant) -> Result<bool, Errno> {
    rustix::io::retry_on_intr(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let count = rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left))?;
        Ok(count > 0)
    })
}

/// It ended on its way: killed, or out of memory under a limit that is too small for anything.
pub(super) fn ended_early(who: &str, code: Option<i32>) -> StartError {
    StartError::Other(match code {
        Some(137) => format!(
            "{who} was killed before it could start the program (out of memory? is the memory limit too small?)"
        ),
        code => format!(
            "{who} exited unexpectedly with code {}",
            code.unwrap_or_default()
        ),
    })
}

pub(super) fn too_slow(who: &str, patience: Duration) -> StartError {
    StartError::Other(format!(
        "{who} did not come to its program within {} seconds and was killed: is it paused or stopped, or a filesystem of its mounts out of reach?",
        patience.as_secs()
    ))
}
