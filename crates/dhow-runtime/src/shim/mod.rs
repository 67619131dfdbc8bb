//! The shim: the parent of a container's processes, for as long as they live, with or without a daemon.
//!
//! It has one thread and waits in one place. The exit record is on disk before anyone is told of the exit;
//! the shim ends when a daemon has taken the exit over, or by itself when there is no daemon: then the
//! record is enough.

mod client;
mod commands;
mod connection;
mod connections;
mod ends;
mod exec;
mod launch;
mod launches;
mod log;
mod memory;
mod pids;
mod poller;
pub(crate) mod signals;
pub(crate) mod socket;
mod start;
mod streams;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::connection::Connection;
use self::launches::Launches;
use self::memory::Memory;
use self::poller::{Poller, Source};
use self::streams::Streams;
use crate::cgroup::Cgroup;
use crate::hooks;
use crate::packet::{self, Incoming};
use crate::protocol::{
    Command, Event, ExitRecord, Failure, NotUnderstood, Reply, Request, StartRequest, Started,
    Target, VERSION,
};
use crate::title;

/// Ends of execs that no daemon has been told of are kept up to this number.
const MAX_UNTOLD: usize = 1024;

/// How long after a start or an exec memory is given back: one that is short has ended by then, and nobody waits.
const TRIM_AFTER: Duration = Duration::from_millis(50);

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
    processes: BTreeMap<u64, Process>,
    next_process: u64,
    launches: Launches,
    init_pidfd: OwnedFd,
    mount_namespace: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    memory: Option<Memory>,
    held: Vec<OwnedFd>,
    seccomp: Vec<u8>,
    /// The kernel ends all processes of a pid namespace with its init.
    own_pids: bool,
    recorded: bool,
    released: bool,
    /// The request, where it has hooks to be run after the end.
    poststop: Option<Box<StartRequest>>,
    /// Read buffer, made when there is something to read.
    piece: Vec<u8>,
    /// When memory is to be given back.
    trim: Option<Instant>,
}

/// A shim's name in process lists.
pub(crate) const NAME: &CStr = c"dhow-shim";

/// Its command line before it has a container.
const SPARE_TITLE: &str = "dhow shim";

/// And its command line.
pub(crate) fn title_of(id: &str) -> String {
    format!("dhow shim {id}")
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
    // A spare one may wait for long; its container's id follows.
    // SAFETY: this process has a single thread, which reads neither arguments nor environment.
    unsafe { title::set(SPARE_TITLE) };
    let Some(packet) = packet::receive(&daemon)? else {
        return Ok(());
    };
    let mut connection = Connection::new(daemon);
    let Incoming { json, blob, fds } = packet;
    let (number, request, trace) = match Request::parse(&json) {
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
        Err(NotUnderstood::Command { number }) => {
            return connection.reply(number, Err(Failure::Os(libc::ENOSYS)));
        }
        Err(NotUnderstood::Nothing) => return Err(io::ErrorKind::InvalidData.into()),
    };
    drop(json);
    // SAFETY: as above.
    unsafe { title::set(&title_of(&request.id)) };
    let mut phases = start::Phases::new(trace);
    phases.end("request");
    let mut shim = match start::start(&request, connection.socket(), blob, fds, phases) {
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
    shim.watch_memory();
    shim.trim_soon();
    shim.serve()
}

fn prepare() -> io::Result<()> {
    let _ = rustix::thread::set_name(NAME);
    // A session of its own: no terminal's signals, and none that are meant for the daemon.
    let _ = rustix::process::setsid();
    // Groups and the exit record are for others to read; what is not says so where it is made.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Until the exec, a container's init shares this program: nobody in there may look into it.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
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
            launches: Launches::default(),
            init_pidfd,
            mount_namespace: Some(mount_namespace),
            cgroup,
            memory: None,
            held,
            seccomp,
            own_pids,
            recorded: false,
            released: false,
            poststop: hooks::any(&request.spec, hooks::Moment::Poststop)
                .then(|| Box::new(request.clone())),
            piece: Vec::new(),
            trim: None,
        }
    }

    fn serve(mut self) -> io::Result<()> {
        while !self.is_over() {
            let deadlines = [self.launches.deadline(), self.trim, self.log_deadline()];
            let deadline = deadlines.into_iter().flatten().min();
            for (token, flags) in self.poller.wait(deadline)? {
                match self.poller.source(token) {
                    Some(Source::Signals) => self.reap()?,
                    Some(Source::Listener) => self.accept()?,
                    Some(Source::Connection) => self.connection_ready(token, flags),
                    Some(Source::Memory) => self.memory_ready(),
                    Some(Source::Launch(process)) => self.launch_ready(process),
                    Some(Source::Output(process)) => self.with(process, |p, poller, piece| {
                        p.streams.output_ready(poller, token, piece)
                    }),
                    Some(Source::Input(process)) => {
                        self.with(process, |p, poller, _| p.streams.input_ready(poller))
                    }
                    Some(Source::Client(process)) => self.with(process, |p, poller, piece| {
                        p.streams.client_ready(poller, token, flags, piece)
                    }),
                    Some(Source::LogServer) => self.with(0, |p, poller, _| {
                        p.streams.server_ready(poller, token, flags)
                    }),
                    None => {}
                }
            }
            self.tend_launches();
            self.tend_log();
            self.tell_lost_server();
            self.forget_execs();
            self.trim_when_due();
            if self.init_ended() && self.connections.is_empty() {
                self.clear_away();
            }
        }
        Ok(())
    }

    fn trim_soon(&mut self) {
        self.trim = Some(Instant::now() + TRIM_AFTER);
    }

    fn trim_when_due(&mut self) {
        if self.trim.is_some_and(|due| Instant::now() >= due) {
            self.trim = None;
            crate::memory::trim();
            // A shim waits, and is one of many: what it has run of the program to come here is in the page cache.
            crate::memory::release_program();
        }
    }

    fn log_deadline(&self) -> Option<Instant> {
        self.processes.get(&0)?.streams.deadline()
    }

    fn tend_log(&mut self) {
        if self.log_deadline().is_some_and(|due| Instant::now() >= due) {
            self.with(0, |p, poller, _| p.streams.tend(poller));
        }
    }

    /// A daemon looks up what its name means by now.
    fn tell_lost_server(&mut self) {
        let process = self.processes.get_mut(&0);
        if !process.is_some_and(|process| process.streams.take_lost_server()) {
            return;
        }
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            self.use_connection(token, |connection| connection.send(&Event::LogServerAway));
        }
    }

    fn with(&mut self, number: u64, act: impl FnOnce(&mut Process, &mut Poller, &mut [u8])) {
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
}
