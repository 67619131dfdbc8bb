//! What a daemon may ask of a shim, each request answered at once but an exec's.

use std::io;
use std::os::fd::OwnedFd;

use super::launches::Asker;
use super::{Shim, socket};
use crate::init;
use crate::protocol::{AttachStreams, Command, Failure, Reply, Target, VERSION};

impl Shim {
    /// `None` when the answer comes later.
    pub(super) fn command(
        &mut self,
        asker: Asker,
        command: Command,
        mut fds: Vec<OwnedFd>,
    ) -> Option<Result<Reply, Failure>> {
        let done = match command {
            Command::Hello { .. } => return Some(Ok(self.welcome())),
            Command::Start { .. } => Err(Failure::Os(libc::EALREADY)),
            Command::Exec(request) => match self.add_launch(asker, request, fds.pop()) {
                Ok(()) => return None,
                Err(error) => Err(Failure::Start(error)),
            },
            Command::Attach { target, streams } => match fds.pop() {
                Some(stream) => self.attach(&target, streams, stream),
                None => Err(Failure::Os(libc::EINVAL)),
            },
            Command::Signal { target, signal } => self.signal(&target, signal),
            Command::Resize { target, rows, cols } => self.resize(&target, (rows, cols)),
            Command::CloseStdin { target } => self.close_stdin(&target),
            Command::ClearLog => self.clear_log(),
            Command::Hold => {
                self.held = fds;
                Ok(())
            }
            Command::Held => match self.hand_over(&asker) {
                Ok(()) => return None,
                Err(error) => Err(Failure::Os(error.raw_os_error().unwrap_or(libc::EIO))),
            },
            Command::LogAddresses { addresses } => {
                self.with(0, |process, _, _| {
                    process.streams.set_log_addresses(addresses)
                });
                Ok(())
            }
            Command::Release => self.release(),
        };
        Some(done.map(|()| Reply::Done))
    }

    fn welcome(&mut self) -> Reply {
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

    fn attach(
        &mut self,
        target: &Target,
        streams: AttachStreams,
        stream: OwnedFd,
    ) -> Result<(), Failure> {
        let stream = match self.launches.attach(target, streams, stream) {
            Ok(()) => return Ok(()),
            Err(stream) => stream,
        };
        let number = self.number(target)?;
        let mut result = Ok(());
        self.with(number, |process, poller, _| {
            result = process.streams.attach(poller, streams, stream)
        });
        result.map_err(|error| Failure::Os(error.raw_os_error()))
    }

    fn signal(&mut self, target: &Target, signal: i32) -> Result<(), Failure> {
        if let Some(sent) = self.signal_launch(target, signal) {
            return sent;
        }
        let number = self.number(target)?;
        match self.processes.get(&number) {
            Some(process) if process.ended.is_none() => send_signal(process.pid, signal),
            _ => Err(Failure::Os(libc::ESRCH)),
        }
    }

    fn resize(&mut self, target: &Target, size: (u16, u16)) -> Result<(), Failure> {
        if let Some(noted) = self.launches.resize(target, size) {
            return noted;
        }
        let number = self.number(target)?;
        let process = self.processes.get(&number);
        let terminal = process.and_then(|process| process.streams.terminal());
        let terminal = terminal.ok_or(Failure::Os(libc::ENOTTY))?;
        init::console::resize(terminal, size.0, size.1)
            .map_err(|error| Failure::Os(error.raw_os_error()))
    }

    fn close_stdin(&mut self, target: &Target) -> Result<(), Failure> {
        if !self.launches.close_input(target) {
            let number = self.number(target)?;
            self.with(number, |process, poller, _| {
                process.streams.close_input(poller)
            });
        }
        Ok(())
    }

    fn clear_log(&mut self) -> Result<(), Failure> {
        match self.processes.get_mut(&0) {
            Some(process) => process
                .streams
                .clear_log()
                .map_err(|error| Failure::Os(error.raw_os_error().unwrap_or(libc::EIO))),
            None => Err(Failure::Os(libc::ESRCH)),
        }
    }

    /// Answers with duplicates of what is held.
    fn hand_over(&mut self, asker: &Asker) -> io::Result<()> {
        let duplicates = self.held.iter().map(OwnedFd::try_clone);
        let duplicates = duplicates.collect::<io::Result<Vec<_>>>()?;
        self.use_connection(asker.connection, |connection| {
            connection.hand_over(asker.number, duplicates)
        });
        Ok(())
    }

    fn release(&mut self) -> Result<(), Failure> {
        if !self.init_ended() {
            return Err(Failure::Os(libc::EBUSY));
        }
        self.released = true;
        self.clear_away();
        socket::remove(&self.runtime_dir, &self.id);
        Ok(())
    }
}

/// To a child of this process that has not been reaped: the number is still its own.
pub(super) fn send_signal(child: i32, signal: i32) -> Result<(), Failure> {
    // SAFETY: kill with integers.
    match unsafe { libc::kill(child, signal) } {
        0 => Ok(()),
        _ => Err(Failure::Os(
            io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )),
    }
}
