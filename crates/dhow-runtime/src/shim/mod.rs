//! The shim: the parent of a container's processes, for as long as they live, with or without a daemon.
//!
//! It has one thread and waits in one place. The exit record is on disk before anyone is told of the exit;
//! the shim ends when a daemon has taken the exit over, or by itself when there is no daemon: then the
//! record is enough.

mod connection;
mod exec;
mod launch;
mod log;
mod poller;
pub(crate) mod signals;
pub(crate) mod socket;
mod start;
mod streams;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::epoll::EventFlags;

use self::connection::Connection;
use self::poller::{Poller, Source};
use self::streams::Streams;
use crate::cgroup::Cgroup;
use crate::packet::{self, Incoming};
use crate::protocol::{
    AttachStreams, Command, Event, ExecRequest, ExitRecord, Failure, Reply, Request, StartError,
    StartRequest, Started, Target, VERSION,
};
use crate::{init, record, sys, title};

/// Ends of execs that no daemon has been told of are kept up to this number.
const MAX_UNTOLD: usize = 1024;

struct Process {
    target: Target,
    pid: i32,
    started: Started,
    streams: Streams,
    ended: Option<ExitRecord>,
    /// A daemon knows of its end.
    told: bool,
}

struct Shim {
    id: String,
    bundle: PathBuf,
    runtime_dir: PathBuf,
    sync_exit: bool,
    poller: Poller,
    signals: OwnedFd,
    listener: Option<OwnedFd>,
    connections: BTreeMap<u64, Connection>,
    /// By number; 0 is the init.
    processes: BTreeMap<u32, Process>,
    next_process: u32,
    init_pidfd: OwnedFd,
    mount_namespace: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    held: Vec<OwnedFd>,
    seccomp: Vec<u8>,
    /// The kernel ends all processes of a pid namespace with its init.
    own_pids: bool,
    recorded: bool,
    released: bool,
    /// Read buffer, made when there is something to read.
    piece: Vec<u8>,
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i64)
}

/// A shim's life, in a process of its own that was just forked from the spawner.
pub(crate) fn run(daemon: OwnedFd) -> ! {
    let code = match live(daemon) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn live(daemon: OwnedFd) -> io::Result<()> {
    prepare()?;
    let Some(packet) = packet::receive(&daemon)? else {
        return Ok(());
    };
    let mut connection = Connection::new(daemon);
    let Incoming { json, blob, fds } = packet;
    let (number, request, trace) = match serde_json::from_slice(&json) {
        Ok(Request {
            number,
            command:
                Command::Start {
                    version,
                    request,
                    trace,
                },
        }) if version == VERSION => (number, request, trace),
        Ok(Request { number, .. }) => {
            return connection.reply(number, Err(Failure::Os(libc::EPROTO)));
        }
        Err(error) => return Err(error.into()),
    };
    drop(json);
    // SAFETY: this process has a single thread, which reads neither arguments nor environment.
    unsafe { title::set(&format!("dhow shim {}", request.id)) };
    let mut phases = start::Phases::new(trace);
    phases.end("request");
    let mut shim = match start::start(&request, blob, fds, phases) {
        Ok(shim) => shim,
        Err(error) => return connection.reply(number, Err(Failure::Start(error))),
    };
    drop(request);
    rustix::io::ioctl_fionbio(connection.socket(), true)?;
    let started = shim.processes[&0].started.clone();
    let answered = connection.reply(number, Ok(Reply::Started(started)));
    // A daemon that is gone already will find the shim by its socket.
    if answered.is_ok() {
        shim.add_connection(connection)?;
    }
    trim_memory();
    shim.serve()
}

fn prepare() -> io::Result<()> {
    let _ = rustix::thread::set_name(c"dhow-shim");
    // A session of its own: no terminal's signals, and none that are meant for the daemon.
    let _ = rustix::process::setsid();
    // Groups and the exit record are for others to read; what is not says so where it is made.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Until the exec, a container's init shares this program: nobody in there may look into it.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Gives the memory that reading the request took back to the kernel.
fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

impl Shim {
    #[expect(
        clippy::too_many_arguments,
        reason = "called in one place, with all that a start has made"
    )]
    fn new(
        request: &StartRequest,
        poller: Poller,
        signals: OwnedFd,
        listener: OwnedFd,
        process: Process,
        init_pidfd: OwnedFd,
        mount_namespace: OwnedFd,
        cgroup: Option<Cgroup>,
        held: Vec<OwnedFd>,
        seccomp: Vec<u8>,
        own_pids: bool,
    ) -> Self {
        Self {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            runtime_dir: request.runtime_dir.clone(),
            sync_exit: request.sync_exit,
            poller,
            signals,
            listener: Some(listener),
            connections: BTreeMap::new(),
            processes: BTreeMap::from([(0, process)]),
            next_process: 1,
            init_pidfd,
            mount_namespace: Some(mount_namespace),
            cgroup,
            held,
            seccomp,
            own_pids,
            recorded: false,
            released: false,
            piece: Vec::new(),
        }
    }

    fn serve(mut self) -> io::Result<()> {
        while !self.is_over() {
            for (token, flags) in self.poller.wait()? {
                match self.poller.source(token) {
                    Some(Source::Signals) => self.reap()?,
                    Some(Source::Listener) => self.accept()?,
                    Some(Source::Connection) => self.connection_ready(token, flags),
                    Some(Source::Output(process)) => self.with(process, |p, poller, piece| {
                        p.streams.output_ready(poller, token, piece)
                    }),
                    Some(Source::Input(process)) => {
                        self.with(process, |p, poller, _| p.streams.input_ready(poller))
                    }
                    Some(Source::Client(process)) => self.with(process, |p, poller, piece| {
                        p.streams.client_ready(poller, token, flags, piece)
                    }),
                    None => {}
                }
            }
            self.forget_execs();
        }
        Ok(())
    }

    fn with(&mut self, number: u32, act: impl FnOnce(&mut Process, &mut Poller, &mut [u8])) {
        if let Some(process) = self.processes.get_mut(&number) {
            self.piece.resize(streams::PIECE, 0);
            act(process, &mut self.poller, &mut self.piece);
        }
    }

    /// The container has ended, its clients have all of its output, and the exit is in good hands.
    fn is_over(&self) -> bool {
        self.init_ended()
            && self
                .processes
                .values()
                .all(|process| process.streams.is_done())
            && (self.released || self.recorded && self.connections.is_empty())
            && self
                .connections
                .values()
                .all(|connection| !connection.has_queue())
    }

    fn init_ended(&self) -> bool {
        self.processes
            .get(&0)
            .is_none_or(|process| process.ended.is_some())
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut info = [0u8; 128 * 8];
        while matches!(rustix::io::read(&self.signals, &mut info), Ok(count) if count > 0) {}
        let mut init = None;
        while let Ok(Some((pid, code))) = sys::reap(-1, false) {
            let found = self
                .processes
                .iter()
                .find(|(_, process)| process.pid == pid && process.ended.is_none());
            match found.map(|(number, _)| *number) {
                Some(0) => init = Some(code),
                Some(number) => self.exec_ended(number, code),
                // An orphan that was left to this process.
                None => {}
            }
        }
        if let Some(code) = init {
            self.init_exited(code);
        }
        Ok(())
    }

    fn end(&mut self, number: u32, code: i32, oom_killed: bool) -> Option<ExitRecord> {
        let mut record = None;
        self.with(number, |process, poller, piece| {
            process.streams.process_exited(poller, piece);
            let started_at = process.started.started_at;
            process.ended = Some(ExitRecord {
                code,
                oom_killed,
                started_at,
                finished_at: now().max(started_at),
            });
            record = process.ended.clone();
        });
        record
    }

    fn exec_ended(&mut self, number: u32, code: i32) {
        if let Some(record) = self.end(number, code, false) {
            self.tell_exit(number, record);
        }
    }

    fn init_exited(&mut self, code: i32) {
        let oom_killed = self
            .cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.oom_kills() > 0);
        if !self.own_pids {
            if let Some(cgroup) = &self.cgroup {
                // What does not end within its time stays, and the cgroup with it, for the daemon to find.
                let _ = cgroup.kill();
            }
            while let Ok(Some((pid, code))) = sys::reap(-1, false) {
                let found = self
                    .processes
                    .iter()
                    .find(|(number, process)| **number != 0 && process.pid == pid);
                if let Some(number) = found.map(|(number, _)| *number) {
                    self.exec_ended(number, code);
                }
            }
        }
        self.held.clear();
        let Some(record) = self.end(0, code, oom_killed) else {
            return;
        };
        self.recorded = record::write_exit_record(&self.bundle, &record, self.sync_exit).is_ok();
        self.tell_exit(0, record);
        self.mount_namespace = None;
        if let Some(cgroup) = &self.cgroup {
            // As above.
            let _ = cgroup.remove();
        }
        // Without a record on disk, a later daemon still finds the exit here.
        if self.recorded {
            self.listener = None;
            socket::remove(&self.runtime_dir, &self.id);
        }
    }

    fn tell_exit(&mut self, number: u32, record: ExitRecord) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let event = Event::Exited {
            target: process.target.clone(),
            record,
        };
        process.told = !self.connections.is_empty();
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            self.use_connection(token, |connection| connection.send(&event));
        }
        // Whoever sees the end of the output can already learn how it ended.
        self.with(number, |process, poller, _| process.streams.let_go(poller));
    }

    /// Execs that have ended, been told of, and given all of their output are of no more interest.
    fn forget_execs(&mut self) {
        let untold = self
            .processes
            .values()
            .filter(|process| process.ended.is_some() && !process.told)
            .count();
        let mut excess = untold.saturating_sub(MAX_UNTOLD);
        self.processes.retain(|number, process| {
            if *number == 0 || process.ended.is_none() || !process.streams.is_done() {
                return true;
            }
            if process.told {
                return false;
            }
            excess = excess.saturating_sub(1);
            excess == 0
        });
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener, flags) {
            Ok(socket) => self.add_connection(Connection::new(socket)),
            // Whoever called has gone again, or there is no descriptor left just now.
            Err(_) => Ok(()),
        }
    }

    fn add_connection(&mut self, connection: Connection) -> io::Result<()> {
        let token = self.poller.name(Source::Connection);
        self.poller
            .add(connection.socket(), token, EventFlags::IN)?;
        self.connections.insert(token, connection);
        Ok(())
    }

    /// Does something with a connection, and lets it go when that fails.
    fn use_connection(&mut self, token: u64, act: impl FnOnce(&mut Connection) -> io::Result<()>) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let mut result = act(connection);
        if result.is_ok() && connection.has_queue() != connection.watched_for_writing {
            connection.watched_for_writing = connection.has_queue();
            let flags = if connection.has_queue() {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            result = self
                .poller
                .modify(connection.socket(), token, flags)
                .map_err(Into::into);
        }
        if result.is_err() {
            self.drop_connection(token);
        }
    }

    fn drop_connection(&mut self, token: u64) {
        self.connections.remove(&token);
        self.poller.forget(token);
    }

    fn connection_ready(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.use_connection(token, Connection::flush);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let Some(connection) = self.connections.get(&token) else {
            return;
        };
        let packet = match connection.receive() {
            Ok(Some(packet)) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(None) | Err(_) => return self.drop_connection(token),
        };
        let Incoming { json, fds, .. } = packet;
        // Without its number nothing can be answered: a peer of another making.
        let Ok(Request { number, command }) = serde_json::from_slice(&json) else {
            return self.drop_connection(token);
        };
        let result = self.command(command, fds);
        self.use_connection(token, |connection| connection.reply(number, result));
    }

    fn command(&mut self, command: Command, mut fds: Vec<OwnedFd>) -> Result<Reply, Failure> {
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

    fn number(&self, target: &Target) -> Result<u32, Failure> {
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
        let number = self.number(target)?;
        let mut result = Ok(());
        self.with(number, |process, poller, _| {
            result = process.streams.attach(poller, streams, stream)
        });
        result.map_err(|error| Failure::Os(error.raw_os_error()))
    }

    fn start_exec(
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

    fn signal(&self, target: &Target, signal: i32) -> Result<(), Failure> {
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
