//! The container's init: from a clone with new namespaces to the exec of the user's program.
//!
//! It runs in a copy of the shim, so it reads the start request where the shim parsed it. The shim has a
//! single thread; a process cloned from it may therefore allocate. What happens is reported over a socket
//! that exec closes: the end of it after [`Report::Ready`] is success.
//!
//! The order of the steps follows runc's (libcontainer/standard_init_linux.go), where programs and profiles
//! depend on it: seccomp before the capabilities are given up, unless no new privileges are allowed.

pub(crate) mod capabilities;
pub(crate) mod console;
pub(crate) mod devices;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod options;
pub(crate) mod paths;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod program;
pub(crate) mod reaper;
pub(crate) mod resolve;
pub(crate) mod rootfs;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use self::procfs::Procfs;
use crate::cgroup::Cgroup;
use crate::hooks::{self, Moment};
use crate::packet::{self, Outgoing};
use crate::protocol::{Joined, StartError, StartRequest};
use crate::shim;

/// What an init, or an exec, tells its shim before the user's program runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Something could not be done as asked but does not stop the start.
    Warning(String),
    /// The terminal's controlling end comes with this message.
    Terminal,
    /// The container is there but for its root, and hooks are to be run outside of it. Waits to go on.
    Hooks,
    /// Everything is done but exec; with how long each phase took.
    Ready(Vec<(String, u64)>),
    Failed(StartError),
}

/// The init's end of the socket to its shim.
pub(crate) struct Reporter {
    socket: OwnedFd,
    phases: Vec<(String, u64)>,
    last: Option<Instant>,
}

impl Reporter {
    pub fn new(socket: OwnedFd, trace: bool) -> Self {
        Self {
            socket,
            phases: Vec::new(),
            last: trace.then(Instant::now),
        }
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn send(&self, report: &Report, fds: Vec<BorrowedFd<'_>>) -> io::Result<()> {
        Outgoing::new(&serde_json::to_vec(report)?, &[], fds)?.send(&self.socket)
    }

    pub fn warn(&self, warning: String) {
        // A shim that is gone will be seen at the next step that needs it.
        let _ = self.send(&Report::Warning(warning), Vec::new());
    }

    pub fn phase(&mut self, name: &str) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            self.phases.push((
                format!("init: {name}"),
                now.duration_since(*last).as_nanos() as u64,
            ));
            *last = now;
        }
    }

    pub fn ready(&mut self) -> Result<(), StartError> {
        let phases = std::mem::take(&mut self.phases);
        self.send(&Report::Ready(phases), Vec::new())
            .map_err(failed("reporting to the shim"))
    }

    /// Waits until the shim has set the cgroup's limits, or has run hooks.
    pub fn wait_for_shim(&self) -> Result<(), StartError> {
        match packet::receive(&self.socket) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(StartError::Other("the shim is gone".into())),
            Err(error) => Err(failed("waiting for the shim")(error)),
        }
    }
}

/// The hooks before the root is changed: those outside of the container first.
fn run_hooks(request: &StartRequest, reporter: &mut Reporter) -> Result<(), StartError> {
    let spec = &request.spec;
    if spec.hooks().is_none() {
        return Ok(());
    }
    if hooks::any(spec, Moment::Prestart) || hooks::any(spec, Moment::CreateRuntime) {
        reporter
            .send(&Report::Hooks, Vec::new())
            .map_err(failed("reporting to the shim"))?;
        reporter.wait_for_shim()?;
    }
    hooks::run(request, Moment::CreateContainer, Some(own_pid()))?;
    reporter.phase("hooks");
    Ok(())
}

/// As the container counts.
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

fn join(cgroup: Option<&Cgroup>) -> Result<(), StartError> {
    cgroup
        .map_or(Ok(()), Cgroup::join_self)
        .map_err(failed("joining the cgroup"))
}

/// Turns an operating system's error into one that says what was being done.
pub(crate) fn failed<E: Display>(what: impl Display) -> impl FnOnce(E) -> StartError {
    move |error| StartError::Other(format!("{what}: {error}"))
}

/// As [`failed`], of what depends on the request and the image: they are at fault where the kernel says so.
pub(crate) fn unfit(what: impl Display) -> impl FnOnce(Errno) -> StartError {
    move |error| {
        let at_fault = matches!(
            error,
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::EXIST
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::INVAL
                | Errno::RANGE
                | Errno::PERM
                | Errno::ACCESS
                | Errno::ROFS
        );
        let message = format!("{what}: {}", program::words(error));
        match at_fault {
            true => StartError::Invalid(message),
            false => StartError::Other(message),
        }
    }
}

/// Where a process's standard streams come from.
pub(crate) enum Stdio {
    /// `None` for standard input is /dev/null.
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// A terminal that is made inside, of the size given.
    Terminal { size: Option<(u16, u16)> },
}

/// Everything an init needs beside the request.
pub(crate) struct Setup<'a> {
    pub request: &'a StartRequest,
    pub others: &'a namespaces::Others,
    pub seccomp: &'a [u8],
    /// To move into; on v2 the process was cloned into it.
    pub cgroup: Option<&'a Cgroup>,
    pub stdio: Stdio,
}

/// The init's life up to exec. Never returns: what goes wrong is reported and ends the process.
pub(crate) fn run(setup: Setup<'_>, mut reporter: Reporter) -> ! {
    shim::signals::restore();
    // Devices and mount points are made with the modes that they are to have.
    rustix::process::umask(rustix::fs::Mode::empty());
    let error = match start(setup, &mut reporter) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let _ = reporter.send(&Report::Failed(error), Vec::new());
    // SAFETY: ends the process without running what the shim registered for its own end.
    unsafe { libc::_exit(1) }
}

/// What an exec needs: the running container is found through its init's descriptor.
pub(crate) struct ExecSetup<'a> {
    pub process: &'a oci_spec::runtime::Process,
    pub container: &'a OwnedFd,
    pub seccomp: &'a [u8],
    /// As for an init.
    pub cgroup: Option<&'a Cgroup>,
    pub stdio: Stdio,
}

/// An exec's life up to the exec of its program, as [`run`].
pub(crate) fn run_exec(setup: ExecSetup<'_>, mut reporter: Reporter) -> ! {
    shim::signals::restore();
    let error = match start_exec(setup, &mut reporter) {
        Ok(never) => match never {},
        // What daemons before this one know of an exec, whose container may have been made by a later one.
        Err(StartError::Invalid(words)) => StartError::Other(words),
        Err(error) => error,
    };
    let _ = reporter.send(&Report::Failed(error), Vec::new());
    // SAFETY: ends the process without running what the shim registered for its own end.
    unsafe { libc::_exit(1) }
}

fn start_exec(
    setup: ExecSetup<'_>,
    reporter: &mut Reporter,
) -> Result<std::convert::Infallible, StartError> {
    let process = setup.process;
    rustix::process::setsid().map_err(failed("creating a session"))?;
    // The host's, since the container may have covered its own.
    let procfs = Procfs::of_host()?;
    process::set_oom_score(&procfs, process.oom_score_adj(), reporter);
    join(setup.cgroup)?;
    process::join_namespaces(setup.container)
        .map_err(failed("joining the container's namespaces"))?;
    let terminal = match &setup.stdio {
        Stdio::Terminal { size } => {
            let root = rustix::fs::open(
                "/",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(failed("opening the root filesystem"))?;
            let terminal = console::open_in(&root, &procfs, *size)?;
            reporter
                .send(&Report::Terminal, vec![terminal.controller.as_fd()])
                .map_err(failed("handing over the terminal"))?;
            Some(terminal.user)
        }
        Stdio::Pipes { .. } => None,
    };
    process::connect_stdio(setup.stdio, terminal, &procfs)?;
    let program = process::confine(process, setup.seccomp, procfs, reporter)?;
    reporter.ready()?;
    Err(program.exec())
}

fn start(
    setup: Setup<'_>,
    reporter: &mut Reporter,
) -> Result<std::convert::Infallible, StartError> {
    let spec = &setup.request.spec;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| StartError::Other("the specification has no process".into()))?;
    rustix::process::setsid().map_err(failed("creating a session"))?;
    // Modes of what is made here are meant as they are written.
    rustix::process::umask(rustix::fs::Mode::empty());
    let procfs = Procfs::of_host()?;
    process::set_oom_score(&procfs, process.oom_score_adj(), reporter);
    namespaces::join(setup.others)?;
    let shm = setup.others.of(Joined::Ipc).map(mounts::shm_of);
    reporter.phase("namespaces");

    let root = rootfs::mount(&setup.request.rootfs, spec)?;
    reporter.phase("rootfs");
    let linux = spec.linux().as_ref();
    let mut plan = mounts::Plan::new(spec, root, &procfs)?;
    plan.shm = shm.transpose()?;
    plan.mount_all(reporter)?;
    reporter.phase("mounts");
    devices::create(
        &plan,
        linux
            .and_then(|linux| linux.devices().as_deref())
            .unwrap_or_default(),
    )?;
    let terminal = match &setup.stdio {
        Stdio::Terminal { size } => Some(console::open(&plan, *size)?),
        Stdio::Pipes { .. } => None,
    };
    reporter.phase("devices");
    reporter.wait_for_shim()?;
    reporter.phase("waiting for the limits");
    join(setup.cgroup)?;
    reporter.phase("cgroup joined");
    plan.mount_cgroups(reporter)?;
    reporter.phase("cgroup mounts");
    program::create_directory(plan.root(), process.cwd())?;
    namespaces::set_names(spec)?;
    if let Some(linux) = linux {
        paths::set_sysctls(&plan, linux)?;
        paths::protect(&plan, linux)?;
    }
    reporter.phase("paths");
    run_hooks(setup.request, reporter)?;
    rootfs::pivot(plan.into_root(), spec)?;
    if spec
        .root()
        .as_ref()
        .and_then(|root| root.readonly())
        .unwrap_or(false)
    {
        rootfs::make_read_only()?;
    }
    reporter.phase("pivot_root");
    if let Some(terminal) = &terminal {
        reporter
            .send(&Report::Terminal, vec![terminal.controller.as_fd()])
            .map_err(failed("handing over the terminal"))?;
    }
    let terminal = terminal.map(|terminal| terminal.user);
    process::connect_stdio(setup.stdio, terminal, &procfs)?;
    let program = process::confine(process, setup.seccomp, procfs, reporter)?;
    reporter.phase("confinement");
    hooks::run(setup.request, Moment::StartContainer, Some(own_pid()))?;
    if setup.request.init {
        reaper::fork(process.terminal().unwrap_or(false))?;
    }
    reporter.ready()?;
    Err(program.exec())
}
