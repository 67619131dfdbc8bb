//! What a daemon may ask of a shim, each request answered at once.

use std::io;
use std::os::fd::OwnedFd;

use super::{Shim, socket, trim_memory};
use crate::init;
use crate::protocol::{
    AttachStreams, Command, ExecRequest, Failure, Reply, StartError, Target, VERSION,
};

impl Shim {
    pub(super) fn command(
        &mut self,
        command: Command,
        mut fds: Vec<OwnedFd>,
    ) -> Result<Reply, Failure> {
        match command {
            Command::Hello { .. } => return Ok(self.welcome()),
            Command::Start { .. } => return Err(Failure::Os(libc::EALREADY)),
            Command::Attach { target, streams } => {
                let stream = fds.pop().ok_or(Failure::Os(libc::EINVAL))?;
                self.attach(&target, streams, stream)?;
            }
            Command::Exec(request) => {
                let stream = fds.pop();
                return self.start_exec(&request, stream);
            }
            Command::Signal { target, signal } => self.signal(&target, signal)?,
            Command::Resize { target, rows, cols } => {
                let number = self.number(&target)?;
                let terminal = self
                    .processes
                    .get(&number)
                    .and_then(|process| process.streams.terminal());
                let terminal = terminal.ok_or(Failure::Os(libc::ENOTTY))?;
                init::console::resize(terminal, rows, cols)
                    .map_err(|error| Failure::Os(error.raw_os_error()))?;
            }
            Command::CloseStdin { target } => {
                let number = self.number(&target)?;
                self.with(number, |process, poller, _| {
                    process.streams.close_input(poller)
                });
            }
            Command::Release => {
                if !self.init_ended() {
                    return Err(Failure::Os(libc::EBUSY));
                }
                self.released = true;
                socket::remove(&self.runtime_dir, &self.id);
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn welcome(&mut self) -> Reply {
        let mut exited = Vec::new();
        for process in self.processes.values_mut() {
            if let Some(record) = &process.ended {
                exited.push((process.target.clone(), record.clone()));
                process.told = true;
            }
        }
        let started = self
            .processes
            .get(&0)
            .map(|process| process.started.clone());
        Reply::Welcome {
            version: VERSION,
            started,
            exited,
        }
    }

    pub(super) fn number(&self, target: &Target) -> Result<u64, Failure> {
        let found = self
            .processes
            .iter()
            .find(|(_, process)| process.target == *target);
        found
            .map(|(number, _)| *number)
            .ok_or(Failure::Os(libc::ESRCH))
    }

    pub(super) fn attach(
        &mut self,
        target: &Target,
        streams: AttachStreams,
        stream: OwnedFd,
    ) -> Result<(), Failure> {
        let number = self.number(target)?;
        let mut result = Ok(());
        self.with(number, |process, poller, _| {
            result = process.streams.attach(poller, streams, stream)
        });
        result.map_err(|error| Failure::Os(error.raw_os_error()))
    }

    pub(super) fn start_exec(
        &mut self,
        request: &ExecRequest,
        stream: Option<OwnedFd>,
    ) -> Result<Reply, Failure> {
        if request.attach.is_some() != stream.is_some() {
            return Err(Failure::Start(StartError::Other(
                "an attached client needs a stream".into(),
            )));
        }
        let started = self
            .exec(request, stream)
            .map(Reply::Started)
            .map_err(Failure::Start);
        trim_memory();
        started
    }

    pub(super) fn signal(&self, target: &Target, signal: i32) -> Result<(), Failure> {
        let number = self.number(target)?;
        let ended = self
            .processes
            .get(&number)
            .is_none_or(|process| process.ended.is_some());
        if ended {
            return Err(Failure::Os(libc::ESRCH));
        }
        let pid = self.processes[&number].pid;
        // SAFETY: kill with integers; not reaped yet, so the number is still this process's.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(Failure::Os(
                io::Error::last_os_error()
                    .raw_os_error()
                    .unwrap_or(libc::EIO),
            )),
        }
    }
}
