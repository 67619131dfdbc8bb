//! Further processes in a running container: from the request to a child on its way.
//!
//! The way leads through the container's namespaces, where its processes can see the child and stop it, and
//! its cgroup can freeze it. So nobody waits for it: [`super::launches`].

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::EventFlags;

use super::launch::{self, Ends, Launched, Reports};
use super::poller::Source;
use super::streams::Streams;
use super::{Shim, launches};
use crate::init::{self, ExecSetup, Reporter, Stdio, failed};
use crate::protocol::{AttachStreams, ExecRequest, StartError};
use crate::sys::{self, Cloned};

/// A child between its clone and its exec.
pub(super) struct Underway {
    pub pid: i32,
    pub reports: Reports,
    pub token: u64,
    /// Its reports are waited for.
    pub watched: bool,
    pub ends: Ends,
}

impl Shim {
    /// Clones the process of an exec, and has its reports waited for.
    pub(super) fn clone_exec(
        &mut self,
        number: u64,
        request: &ExecRequest,
    ) -> Result<Underway, StartError> {
        let terminal = request.process.terminal().unwrap_or(false);
        let (stdio, ends) = launch::stdio(terminal, request.open_stdin, request.tty_size)?;
        let (reports, reports_child) = launch::report_sockets()?;
        let into = self.cgroup.as_ref().and_then(|cgroup| cgroup.clone_into());
        let own =
            File::open("/proc/self/ns/pid").map_err(failed("opening the shim's pid namespace"))?;
        sys::setns(self.init_pidfd.as_fd(), libc::CLONE_NEWPID)
            .map_err(failed("joining the container's pid namespace"))?;
        // SAFETY: the shim has a single thread.
        let cloned = unsafe { sys::clone3(0, into) };
        if matches!(cloned, Ok(Cloned::Child)) {
            drop(reports);
            drop(ends);
            // The child may be stopped for long: it must hold neither a pipe of another process open, nor a
            // connection.
            // SAFETY: what it uses from here on is kept, and what owned the others is never dropped: this
            // process executes its program or ends.
            unsafe { close_all_but(&[&reports_child, &self.init_pidfd], &stdio) };
            let setup = ExecSetup {
                process: &request.process,
                container: &self.init_pidfd,
                seccomp: &self.seccomp,
                cgroup: self.cgroup.as_ref().filter(|_| into.is_none()),
                stdio,
            };
            init::run_exec(setup, Reporter::new(reports_child, false));
        }
        let left = sys::setns(own.as_fd(), libc::CLONE_NEWPID)
            .map_err(failed("leaving the container's pid namespace"));
        let pid = match cloned.map_err(failed("creating a process in the container"))? {
            Cloned::Parent { pid, .. } => pid,
            Cloned::Child => unreachable!("the child runs its program or ends"),
        };
        drop((reports_child, stdio));
        let token = self.poller.name(Source::Launch(number));
        let watched = left.and_then(|()| {
            self.poller
                .add(reports.socket(), token, EventFlags::IN)
                .map_err(failed("waiting for the process"))
        });
        if let Err(error) = watched {
            self.poller.forget(token);
            launches::kill(pid);
            return Err(error);
        }
        Ok(Underway {
            pid,
            reports,
            token,
            watched: true,
            ends,
        })
    }

    /// Connects the streams of an exec that has come to its program.
    pub(super) fn connect_exec(
        &mut self,
        number: u64,
        open_stdin: bool,
        ends: Ends,
        launched: Launched,
        clients: Vec<(AttachStreams, OwnedFd)>,
    ) -> Result<Streams, StartError> {
        let terminal = launched.terminal.is_some();
        // Docker closes an exec's standard input when its client has nothing more to say.
        let mut streams = Streams::new(number, terminal, true, None);
        ends.connect(
            &mut streams,
            &mut self.poller,
            launched.terminal,
            open_stdin,
        )?;
        for (asked, fd) in clients {
            streams
                .attach(&mut self.poller, asked, fd)
                .map_err(failed("attaching a client"))?;
        }
        Ok(streams)
    }
}

/// # Safety
/// As of [`sys::close_all_but`], for what is in neither of the two.
unsafe fn close_all_but(sockets: &[&OwnedFd], stdio: &Stdio) {
    let mut keep: Vec<_> = sockets.iter().map(|fd| fd.as_fd()).collect();
    if let Stdio::Pipes {
        stdin,
        stdout,
        stderr,
    } = stdio
    {
        keep.extend(stdin.as_ref().map(AsFd::as_fd));
        keep.extend([stdout.as_fd(), stderr.as_fd()]);
    }
    // SAFETY: the caller's.
    unsafe { sys::close_all_but(&mut keep) };
}
