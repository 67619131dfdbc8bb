//! Starting the container: everything between the daemon's request and the exec of its program.
//!
//! While the init mounts, the shim sets limits and listens for later daemons, each on a processor of its own
//! where there are two; the init then moves itself into the cgroup. From its go-ahead on, the shim does nothing
//! that could keep it from seeing what becomes of the init.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxNamespaceType;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::launch::{self, Child, Ends, Launched, Reports};
use super::log::Log;
use super::{Process, Shim, now, pids, signals, socket};
use crate::cgroup::Cgroup;
use crate::hooks::{self, Moment};
use crate::init::namespaces::Others;
use crate::init::{self, Reporter, Setup, failed, namespaces};
use crate::protocol::{Joined, StartError, StartRequest, Started, Target};
use crate::shim::poller::{Poller, Source};
use crate::shim::streams::Streams;
use crate::sys::{self, Cloned};

/// How long an init may take to its program. Mounts of a filesystem that is out of reach take for ever, and
/// so does a process that another container stops, with which it shares its pid namespace.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long each phase took, if anyone wants to know.
pub(super) struct Phases {
    last: Option<Instant>,
    taken: Vec<(String, u64)>,
}

impl Phases {
    pub fn new(trace: bool) -> Self {
        Self {
            last: trace.then(Instant::now),
            taken: Vec::new(),
        }
    }

    pub fn end(&mut self, name: &str) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            self.taken
                .push((name.into(), now.duration_since(*last).as_nanos() as u64));
            *last = now;
        }
    }
}

/// Starts the container. When that fails, nothing of it is left.
pub(super) fn start(
    request: &StartRequest,
    daemon: &OwnedFd,
    seccomp: Vec<u8>,
    fds: Vec<OwnedFd>,
    mut phases: Phases,
) -> Result<Shim, StartError> {
    let spec = &request.spec;
    let mut fds = fds.into_iter();
    let expected = usize::from(request.has_netns)
        + request.joined.len()
        + request.attach.len()
        + request.held_fds;
    if fds.len() != expected {
        return Err(StartError::Other(format!(
            "{expected} descriptors were promised and {} came",
            fds.len()
        )));
    }
    let netns = if request.has_netns { fds.next() } else { None };
    let joined = request.joined.iter().copied().zip(fds.by_ref()).collect();
    let attach: Vec<OwnedFd> = fds.by_ref().take(request.attach.len()).collect();
    let held: Vec<OwnedFd> = fds.collect();

    crate::record::remove_exit_record(&request.bundle).map_err(failed(format!(
        "writing to the container's directory {}",
        request.bundle.display()
    )))?;
    hooks::write_bundle(request)?;
    check_daemon(daemon)?;
    let cgroup = match spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().as_deref())
    {
        Some(path) => Some(make_cgroup(path)?),
        None => None,
    };
    let mut attempt = Attempt {
        request,
        daemon,
        cgroup,
        child: None,
    };
    phases.end("cgroup made");
    let others = Others { netns, joined };
    let shim = attempt.run(seccomp, others, attach, held, phases);
    if shim.is_err() {
        attempt.undo();
    }
    shim
}

/// What the shim does while the init mounts.
struct WhileItMounts<'a> {
    request: &'a StartRequest,
    daemon: &'a OwnedFd,
    /// The group whose limits are still to be set.
    limit: Option<&'a Cgroup>,
}

/// What comes of it.
struct Beside {
    mount_namespace: OwnedFd,
    listener: OwnedFd,
    log: Option<Log>,
}

/// A start under way, and what there is of it to be undone.
struct Attempt<'a> {
    request: &'a StartRequest,
    daemon: &'a OwnedFd,
    cgroup: Option<Cgroup>,
    child: Option<Child>,
}

impl Attempt<'_> {
    fn run(
        &mut self,
        seccomp: Vec<u8>,
        others: Others,
        attach: Vec<OwnedFd>,
        held: Vec<OwnedFd>,
        mut phases: Phases,
    ) -> Result<Shim, StartError> {
        let request = self.request;
        let spec = &request.spec;
        let terminal = spec
            .process()
            .as_ref()
            .and_then(|process| process.terminal())
            .unwrap_or(false);
        let (stdio, ends) = launch::stdio(terminal, request.open_stdin, request.tty_size)?;
        let (mut reports, reports_child) = launch::report_sockets()?;
        let signals = signals::child_descriptor().map_err(failed("preparing for signals"))?;
        let mut warnings = Vec::new();
        let into = self
            .cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.clone_into())
            .map(|into| into.try_clone_to_owned());
        let into = into.transpose().map_err(failed("opening the cgroup"))?;
        if into.is_some() {
            apply_limits(request, self.cgroup.as_ref(), &mut warnings)?;
        }
        if let Some(with) = others.of(Joined::Pid) {
            // For the children to come; this process stays where it is.
            sys::setns(with.as_fd(), libc::CLONE_NEWPID)
                .map_err(failed("joining the pid namespace of the other container"))?;
        }
        let flags = namespaces::to_make(spec, others.netns.is_some());
        // SAFETY: the shim has a single thread.
        let child = match unsafe { sys::clone3(flags, into.as_ref().map(AsFd::as_fd)) }
            .map_err(failed("creating the container's namespaces"))?
        {
            Cloned::Child => {
                drop(reports);
                drop(ends);
                let reporter = Reporter::new(reports_child, phases.last.is_some());
                init::run(
                    Setup {
                        request,
                        others: &others,
                        seccomp: &seccomp,
                        cgroup: self.cgroup.as_ref().filter(|_| into.is_none()),
                        stdio,
                    },
                    reporter,
                )
            }
            Cloned::Parent { pid, pidfd } => Child { pid, pidfd },
        };
        let child = self.child.insert(child);
        let pid = child.pid;
        drop((reports_child, stdio, others));
        phases.end("clone");
        let beside = WhileItMounts {
            request,
            daemon: self.daemon,
            limit: self.cgroup.as_ref().filter(|_| into.is_none()),
        };
        let Beside {
            mount_namespace,
            listener,
            log,
        } = match beside.run(pid, &reports, &mut warnings, &mut phases) {
            Ok(beside) => beside,
            Err(error) => return Err(reports.blame(child, error)),
        };
        let mut poller = Poller::new().map_err(failed("preparing to wait"))?;
        let mut streams = Streams::new(0, terminal, request.stdin_once, log);
        phases.end("log and socket");

        let launched = reports.follow(child, PATIENCE, || {
            run_hooks(request, Moment::Prestart, Some(pid))?;
            run_hooks(request, Moment::CreateRuntime, Some(pid))
        })?;
        let started_at = now();
        run_hooks(request, Moment::Poststart, Some(pid))?;
        phases.end("init");
        let Launched {
            terminal,
            warnings: more,
            phases: init,
        } = launched;
        warnings.extend(more);
        phases.taken.extend(init);
        connect(request, &mut streams, &mut poller, ends, terminal, attach)?;
        let wait = |error| failed("preparing to wait")(error);
        let token = poller.name(Source::Signals);
        poller
            .add(&signals, token, rustix::event::epoll::EventFlags::IN)
            .map_err(wait)?;
        let token = poller.name(Source::Listener);
        poller
            .add(&listener, token, rustix::event::epoll::EventFlags::IN)
            .map_err(wait)?;
        let started = Started {
            pid: pid as u32,
            shim_pid: std::process::id(),
            started_at,
            phases: phases.taken,
            warnings,
        };
        let own_pids = namespaces::has_own(spec, LinuxNamespaceType::Pid);
        // From here on there is nothing to undo.
        let Some(Child { pidfd, .. }) = self.child.take() else {
            return Err(StartError::Other("the container's init is missing".into()));
        };
        let process = Process {
            target: Target::Init,
            pid,
            started,
            streams,
            ended: None,
            told: false,
        };
        Ok(Shim::new(
            request,
            poller,
            signals,
            listener,
            process,
            pidfd,
            mount_namespace,
            self.cgroup.take(),
            held,
            seccomp,
            own_pids,
        ))
    }

    /// Takes away what there is, in the opposite order; each step works also where nothing is.
    fn undo(&mut self) {
        socket::remove(&self.request.runtime_dir, &self.request.id);
        if let Some(child) = &self.child {
            child.end();
            // Others may have run. The error that is reported is the one that came first.
            let _ = run_hooks(self.request, Moment::Poststop, None);
        }
        if let Some(cgroup) = &self.cgroup {
            // A leftover is found again by the daemon's recovery, and by the next start.
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
        }
    }
}

impl WhileItMounts<'_> {
    fn run(
        self,
        pid: i32,
        reports: &Reports,
        warnings: &mut Vec<String>,
        phases: &mut Phases,
    ) -> Result<Beside, StartError> {
        // Held, the namespace's end is not the process's: the exit is seen before everything is unmounted.
        let mount_namespace = File::open(format!("/proc/{pid}/ns/mnt"))
            .map_err(failed("opening the mount namespace"))?
            .into();
        if self.limit.is_some() {
            apply_limits(self.request, self.limit, warnings)?;
            phases.end("cgroup limits");
        }
        let request = self.request;
        let log = Log::open(&request.log).map_err(failed("opening the container's log"))?;
        check_daemon(self.daemon)?;
        let listener = socket::listen(&request.runtime_dir, &request.id)
            .map_err(failed("listening for later daemons"))?;
        check_daemon(self.daemon)?;
        reports.go_ahead()?;
        Ok(Beside {
            mount_namespace,
            listener,
            log,
        })
    }
}

/// A start whose daemon is gone, or has given it up, goes no further.
///
/// Asked before anything is made that another start of the container may have made meanwhile, and a last time
/// between the socket's listening and the init's go-ahead: a daemon that was there then leaves a container
/// that the next one finds by its socket, and of one that was not there nothing comes to run.
fn check_daemon(daemon: &OwnedFd) -> Result<(), StartError> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(daemon, &mut [0u8; 1], flags) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Err(StartError::Other(
            "the daemon is gone, and the start with it".into(),
        )),
        _ => Ok(()),
    }
}

/// Outside of the container.
pub(super) fn run_hooks(
    request: &StartRequest,
    moment: Moment,
    pid: Option<i32>,
) -> Result<(), StartError> {
    if !hooks::any(&request.spec, moment) {
        return Ok(());
    }
    pids::outside(|| hooks::run(request, moment, pid)).map_err(failed("preparing for hooks"))?
}

fn apply_limits(
    request: &StartRequest,
    cgroup: Option<&Cgroup>,
    warnings: &mut Vec<String>,
) -> Result<(), StartError> {
    let resources = request
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    if let (Some(cgroup), Some(resources)) = (cgroup, resources) {
        cgroup.limit_fresh(resources, warnings).map_err(|error| {
            let message = format!("setting the container's limits: {error}");
            match error.kind() {
                // It is the value that the kernel does not take.
                io::ErrorKind::InvalidInput => StartError::Invalid(message),
                _ => StartError::Other(message),
            }
        })?;
    }
    Ok(())
}

fn connect(
    request: &StartRequest,
    streams: &mut Streams,
    poller: &mut Poller,
    ends: Ends,
    terminal: Option<OwnedFd>,
    attach: Vec<OwnedFd>,
) -> Result<(), StartError> {
    ends.connect(streams, poller, terminal, request.open_stdin)?;
    for (asked, fd) in request.attach.iter().zip(attach) {
        streams
            .attach(poller, *asked, fd)
            .map_err(failed("attaching a client"))?;
    }
    Ok(())
}

fn make_cgroup(path: &Path) -> Result<Cgroup, StartError> {
    let path = path.to_string_lossy();
    Cgroup::make_at(&path).map_err(|error| {
        if let Ok(half) = Cgroup::open(&path) {
            // The error that is reported is the one that came first.
            let _ = half.remove();
        }
        failed("creating the cgroup")(error)
    })
}
