//! Making a process and following its reports up to its exec.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
pub(super) fn report_sockets() -> Result<(OwnedFd, OwnedFd), StartError> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed("creating a socket"))
}

/// Tells the child that it is in its cgroup.
pub(super) fn go_ahead(reports: BorrowedFd<'_>) -> Result<(), StartError> {
    // A child that has ended meanwhile has reported why.
    match Outgoing::new(&[], &[], Vec::new()).and_then(|mut packet| packet.send(reports)) {
        Err(error) if error.raw_os_error() != Some(libc::EPIPE) => {
            Err(failed("speaking to the container's init")(error))
        }
        _ => Ok(()),
    }
}

/// What a child's reports came to.
pub(super) struct Launched {
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<String>,
    pub phases: Vec<(String, u64)>,
}

/// Follows the reports until the child has exec'ed, or says why it has not.
pub(super) fn follow(reports: impl AsFd, pid: i32) -> Result<Launched, StartError> {
    let mut launched = Launched {
        terminal: None,
        warnings: Vec::new(),
        phases: Vec::new(),
    };
    let mut ready = false;
    loop {
        let mut packet = match packet::receive(&reports) {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // It ended without reading what it was told; what it had said itself still comes.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
            Err(error) => return Err(failed("listening to the container's init")(error)),
        };
        match serde_json::from_slice(&packet.json)
            .map_err(failed("understanding the container's init"))?
        {
            Report::Warning(warning) => launched.warnings.push(warning),
            Report::Terminal => launched.terminal = packet.fds.pop(),
            Report::Ready(phases) => {
                launched.phases = phases;
                ready = true;
            }
            Report::Failed(error) => return Err(error),
        }
    }
    if ready {
        return Ok(launched);
    }
    // It ended on its way: killed, or out of memory under a limit that is too small for anything.
    Err(StartError::Other(match sys::code_of_ended(pid) {
        Some(137) => "container init was killed before it could start the program (out of memory? is the memory limit too small?)".into(),
        code => format!("container init exited unexpectedly with code {}", code.unwrap_or_default()),
    }))
}

/// Something failed here while the child was on its way: because the child had, and has said why, or not.
/// Ends the child, without reaping it.
pub(super) fn blame(reports: impl AsFd, pid: i32, error: StartError) -> StartError {
    // SAFETY: a signal to a child that is not reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    loop {
        match packet::receive(&reports) {
            Ok(Some(packet)) => {
                if let Ok(Report::Failed(reason)) = serde_json::from_slice(&packet.json) {
                    return reason;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(None) | Err(_) => return error,
        }
    }
}
