//! Further processes in a running container.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::launch::{self, Ends, Launched};
use super::streams::Streams;
use super::{Process, Shim, now};
use crate::init::{self, ExecSetup, Reporter, failed};
use crate::protocol::{ExecRequest, StartError, Started, Target};
use crate::sys::{self, Cloned};

impl Shim {
    /// Starts an exec; returns when its program runs. When that fails nothing of it is left.
    pub(super) fn exec(
        &mut self,
        request: &ExecRequest,
        stream: Option<OwnedFd>,
    ) -> Result<Started, StartError> {
        let target = Target::Exec(request.exec_id.clone());
        if self
            .processes
            .values()
            .any(|process| process.target == target)
        {
            return Err(StartError::Other(format!(
                "the exec {} exists already",
                request.exec_id
            )));
        }
        if self.init_ended() {
            return Err(StartError::Other("the container is not running".into()));
        }
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
            let setup = ExecSetup {
                process: &request.process,
                container: &self.init_pidfd,
                seccomp: &self.seccomp,
                cgroup: self.cgroup.as_ref().filter(|_| into.is_none()),
                stdio,
            };
            init::run_exec(setup, Reporter::new(reports_child, false));
        }
        sys::setns(own.as_fd(), libc::CLONE_NEWPID)
            .map_err(failed("leaving the container's pid namespace"))?;
        let pid = match cloned.map_err(failed("creating a process in the container"))? {
            Cloned::Parent { pid, .. } => pid,
            Cloned::Child => unreachable!("the child runs its program or ends"),
        };
        drop((reports_child, stdio));
        let launched = launch::follow(&reports, pid);
        let connected =
            launched.and_then(|launched| self.connect_exec(request, ends, launched, stream));
        let (streams, warnings) = connected.inspect_err(|_| {
            // SAFETY: a signal to a child that is not reaped yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // Nothing is left to be done for one that can't be reaped.
            let _ = sys::reap(pid, true);
        })?;
        let number = self.next_process;
        self.next_process += 1;
        let started = Started {
            pid: pid as u32,
            started_at: now(),
            phases: Vec::new(),
            warnings,
        };
        self.processes.insert(
            number,
            Process {
                target,
                pid,
                started: started.clone(),
                streams,
                ended: None,
                told: false,
            },
        );
        Ok(started)
    }

    fn connect_exec(
        &mut self,
        request: &ExecRequest,
        ends: Ends,
        launched: Launched,
        stream: Option<OwnedFd>,
    ) -> Result<(Streams, Vec<String>), StartError> {
        let terminal = launched.terminal.is_some();
        // Docker closes an exec's standard input when its client has nothing more to say.
        let mut streams = Streams::new(self.next_process, terminal, true, None);
        ends.connect(
            &mut streams,
            &mut self.poller,
            launched.terminal,
            request.open_stdin,
        )?;
        if let (Some(asked), Some(fd)) = (request.attach, stream) {
            streams
                .attach(&mut self.poller, asked, fd)
                .map_err(failed("attaching a client"))?;
        }
        Ok((streams, launched.warnings))
    }
}
