//! Execs on their way to their programs.
//!
//! A launch is a state, not a wait: whatever a container does to a child that comes in (stops it, freezes
//! it, starves it), the shim goes on serving. The answer goes out when the program runs, when the child has
//! failed, or when its time is up; whether the daemon that asked is still there makes no difference to the
//! process, as with Docker.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::exec::Underway;
use super::launch::{self, Launched, Progress};
use super::poller::Poller;
use super::{Process, Shim, now};
use crate::init;
use crate::protocol::{AttachStreams, ExecRequest, Failure, Reply, StartError, Started, Target};

/// How long an exec may take to its program. That is milliseconds, and seconds where processors or memory
/// are short; clients and health checks commonly give up at twice this.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many may be on their way at once: each takes a handful of descriptors, and more than there are
/// processors gain nothing. Further ones wait.
const AT_ONCE: usize = 16;

/// How many may be on their way or wait for it.
const MOST: usize = 1024;

/// In messages: which process it was that did not come to its program.
const WHO: &str = "the process";

/// Where an answer is to go.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub connection: u64,
    pub number: u64,
}

enum Stage {
    /// Too many others are on their way.
    Waiting(Box<ExecRequest>),
    Underway(Underway),
}

struct Launch {
    target: Target,
    asker: Asker,
    deadline: Instant,
    terminal: bool,
    open_stdin: bool,
    stage: Stage,
    /// What was asked for meanwhile, to be done when the program runs.
    clients: Vec<(AttachStreams, OwnedFd)>,
    size: Option<(u16, u16)>,
    close_input: bool,
}

/// All launches, by the number that the process has or will have.
#[derive(Default)]
pub(super) struct Launches {
    all: BTreeMap<u64, Launch>,
    /// One has ended since memory was last given back.
    ended: bool,
}

impl Launches {
    /// When the next one's time is up.
    pub fn deadline(&self) -> Option<Instant> {
        self.all.values().map(|launch| launch.deadline).min()
    }

    /// The launch whose child this is.
    pub fn of_child(&self, child: i32) -> Option<u64> {
        let found = self.all.iter().find(|(_, launch)| {
            matches!(&launch.stage, Stage::Underway(underway) if underway.pid == child)
        });
        found.map(|(number, _)| *number)
    }

    fn number(&self, target: &Target) -> Option<u64> {
        let found = self.all.iter().find(|(_, launch)| launch.target == *target);
        found.map(|(number, _)| *number)
    }

    fn of(&mut self, target: &Target) -> Option<&mut Launch> {
        self.all
            .values_mut()
            .find(|launch| launch.target == *target)
    }

    /// Attaches a client as soon as the program runs; gives the stream back where no such launch is.
    pub fn attach(
        &mut self,
        target: &Target,
        streams: AttachStreams,
        stream: OwnedFd,
    ) -> Result<(), OwnedFd> {
        match self.of(target) {
            Some(launch) => {
                launch.clients.push((streams, stream));
                Ok(())
            }
            None => Err(stream),
        }
    }

    /// `None` where no such launch is.
    pub fn resize(&mut self, target: &Target, size: (u16, u16)) -> Option<Result<(), Failure>> {
        let launch = self.of(target)?;
        if !launch.terminal {
            return Some(Err(Failure::Os(libc::ENOTTY)));
        }
        launch.size = Some(size);
        Some(Ok(()))
    }

    /// Whether there is such a launch.
    pub fn close_input(&mut self, target: &Target) -> bool {
        match self.of(target) {
            Some(launch) => {
                launch.close_input = true;
                true
            }
            None => false,
        }
    }
}

/// Ends a child of this process that has not been reaped, without waiting: a frozen one ends when it thaws.
/// It is reaped when it does.
pub(super) fn kill(child: i32) {
    // SAFETY: a signal to a child that is not reaped yet, so that the number is still its own.
    unsafe { libc::kill(child, libc::SIGKILL) };
}

impl Shim {
    /// Takes an exec in. The answer follows, from [`Shim::tend_launches`] on.
    pub(super) fn add_launch(
        &mut self,
        asker: Asker,
        request: Box<ExecRequest>,
        stream: Option<OwnedFd>,
    ) -> Result<(), StartError> {
        if request.attach.is_some() != stream.is_some() {
            return Err(StartError::Other(
                "an attached client needs a stream".into(),
            ));
        }
        let target = Target::Exec(request.exec_id.clone());
        if self.number(&target).is_ok() || self.launches.number(&target).is_some() {
            return Err(StartError::Other(format!(
                "the exec {} exists already",
                request.exec_id
            )));
        }
        if self.init_ended() {
            return Err(StartError::Other("the container is not running".into()));
        }
        if self.launches.all.len() >= MOST {
            return Err(StartError::Other(format!(
                "{MOST} processes are being started in the container already: try again later"
            )));
        }
        let number = self.next_process;
        self.next_process += 1;
        let launch = Launch {
            target,
            asker,
            deadline: Instant::now() + PATIENCE,
            terminal: request.process.terminal().unwrap_or(false),
            open_stdin: request.open_stdin,
            clients: request.attach.into_iter().zip(stream).collect(),
            stage: Stage::Waiting(request),
            size: None,
            close_input: false,
        };
        self.launches.all.insert(number, launch);
        Ok(())
    }

    /// Begins what waits, and ends what takes too long. To be called after each round of events.
    pub(super) fn tend_launches(&mut self) {
        while let Some(number) = self.next_to_begin() {
            self.begin_launch(number);
        }
        if let Some(first) = self.launches.deadline() {
            let now = Instant::now();
            if now >= first {
                self.expire_launches(now);
            }
        }
        if self.launches.ended && self.launches.all.is_empty() {
            self.launches.ended = false;
            self.trim_soon();
        }
    }

    fn next_to_begin(&self) -> Option<u64> {
        let all = &self.launches.all;
        let waits = |launch: &Launch| matches!(launch.stage, Stage::Waiting(_));
        let (number, _) = all.iter().find(|(_, launch)| waits(launch))?;
        let underway = all.values().filter(|launch| !waits(launch)).count();
        (underway < AT_ONCE).then_some(*number)
    }

    fn begin_launch(&mut self, number: u64) {
        // Taken out meanwhile, because the child is made of what the whole shim holds.
        let Some(mut launch) = self.launches.all.remove(&number) else {
            return;
        };
        let begun = match &launch.stage {
            Stage::Waiting(request) => self.clone_exec(number, request),
            Stage::Underway(_) => {
                self.launches.all.insert(number, launch);
                return;
            }
        };
        match begun {
            Ok(underway) => {
                launch.stage = Stage::Underway(underway);
                self.launches.all.insert(number, launch);
            }
            Err(error) => {
                self.launches.ended = true;
                self.answer(launch.asker, Err(Failure::Start(error)));
            }
        }
    }

    fn expire_launches(&mut self, now: Instant) {
        let late = self.launches.all.iter();
        let late = late.filter(|(_, launch)| launch.deadline <= now);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.fail_launch(number, launch::too_slow(WHO, PATIENCE));
        }
    }

    /// A child has reported something.
    pub(super) fn launch_ready(&mut self, number: u64) {
        let Some(Launch {
            stage: Stage::Underway(underway),
            ..
        }) = self.launches.all.get_mut(&number)
        else {
            return;
        };
        match underway.reports.take_in() {
            Progress::Underway | Progress::Hooks => {}
            Progress::Executed(launched) => {
                self.launched(number, launched, None);
            }
            Progress::Failed(error) => self.fail_launch(number, error),
            // How it ended comes with SIGCHLD; meanwhile the end of the reports would be told over and over.
            Progress::Ended => unwatch(&mut self.poller, underway),
        }
    }

    /// A child has been reaped before the end of its reports was seen.
    pub(super) fn launch_reaped(&mut self, number: u64, code: i32) {
        let Some(Launch {
            stage: Stage::Underway(underway),
            ..
        }) = self.launches.all.get_mut(&number)
        else {
            return;
        };
        match underway.reports.take_in() {
            Progress::Executed(launched) => {
                self.launched(number, launched, Some(code));
            }
            Progress::Failed(error) => self.drop_launch(number, true, error),
            Progress::Underway | Progress::Hooks | Progress::Ended => {
                self.drop_launch(number, true, launch::ended_early(WHO, Some(code)));
            }
        }
    }

    /// The program runs, or has `ended` already.
    fn launched(&mut self, number: u64, mut launched: Launched, ended: Option<i32>) {
        let Some(launch) = self.launches.all.remove(&number) else {
            return;
        };
        self.launches.ended = true;
        let Stage::Underway(mut underway) = launch.stage else {
            return;
        };
        unwatch(&mut self.poller, &mut underway);
        let pid = underway.pid;
        let warnings = std::mem::take(&mut launched.warnings);
        let connected = self.connect_exec(
            number,
            launch.open_stdin,
            underway.ends,
            launched,
            launch.clients,
        );
        let streams = match connected {
            Ok(streams) => streams,
            Err(error) => {
                if ended.is_none() {
                    kill(pid);
                }
                return self.answer(launch.asker, Err(Failure::Start(error)));
            }
        };
        if let (Some((rows, cols)), Some(terminal)) = (launch.size, streams.terminal()) {
            // The program has the size that it was started with instead.
            let _ = init::console::resize(terminal, rows, cols);
        }
        let started = Started {
            pid: pid as u32,
            shim_pid: std::process::id(),
            started_at: now(),
            phases: Vec::new(),
            warnings,
        };
        self.processes.insert(
            number,
            Process {
                target: launch.target,
                pid,
                started: started.clone(),
                streams,
                ended: None,
                told: false,
            },
        );
        if launch.close_input {
            self.with(number, |process, poller, _| {
                process.streams.close_input(poller)
            });
        }
        self.answer(launch.asker, Ok(Reply::Started(started)));
        if let Some(code) = ended {
            self.exec_ended(number, code);
        }
    }

    /// Undoes a launch whose child, if there is one, has not been reaped.
    fn fail_launch(&mut self, number: u64, error: StartError) {
        self.drop_launch(number, false, error);
    }

    fn drop_launch(&mut self, number: u64, reaped: bool, error: StartError) {
        let Some(launch) = self.launches.all.remove(&number) else {
            return;
        };
        self.launches.ended = true;
        if let Stage::Underway(mut underway) = launch.stage {
            unwatch(&mut self.poller, &mut underway);
            if !reaped {
                kill(underway.pid);
            }
        }
        self.answer(launch.asker, Err(Failure::Start(error)));
    }

    /// The container has ended: nothing comes to its program any more.
    pub(super) fn fail_launches(&mut self) {
        for number in self.launches.all.keys().copied().collect::<Vec<_>>() {
            let error = StartError::Other("the container ended before the process started".into());
            self.fail_launch(number, error);
        }
    }

    /// A signal to an exec that is on its way; `None` where it is not.
    pub(super) fn signal_launch(
        &mut self,
        target: &Target,
        signal: i32,
    ) -> Option<Result<(), Failure>> {
        let number = self.launches.number(target)?;
        match &self.launches.all.get(&number)?.stage {
            Stage::Underway(underway) => Some(super::commands::send_signal(underway.pid, signal)),
            Stage::Waiting(_) if matches!(signal, libc::SIGKILL | libc::SIGTERM) => {
                self.fail_launch(number, launch::ended_early(WHO, Some(128 + signal)));
                Some(Ok(()))
            }
            // There is no process to take it yet.
            Stage::Waiting(_) => Some(Err(Failure::Os(libc::EAGAIN))),
        }
    }

    fn answer(&mut self, asker: Asker, result: Result<Reply, Failure>) {
        self.use_connection(asker.connection, |connection| {
            connection.reply(asker.number, result)
        });
    }
}

fn unwatch(poller: &mut Poller, underway: &mut Underway) {
    if std::mem::take(&mut underway.watched) {
        // What is waited for can't be missing.
        let _ = poller.remove(underway.reports.socket());
    }
    poller.forget(underway.token);
}
