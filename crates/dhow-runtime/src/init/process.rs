//! What a process is given and denied before its program runs, the same for an init and an exec.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process, User};
use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};

use super::capabilities::Sets;
use super::procfs::Procfs;
use super::program::Program;
use super::{Reporter, Stdio, failed, program, unfit};
use crate::protocol::StartError;
use crate::{seccomp, sys};

/// Lowering needs CAP_SYS_RESOURCE: without, it stays.
pub(crate) fn set_oom_score(procfs: &Procfs, score: Option<i32>, reporter: &Reporter) {
    if let Some(score) = score
        && let Err(error) = procfs.write("self/oom_score_adj", &score.to_string())
    {
        reporter.warn(format!(
            "the OOM score adjustment stays as it is, {score} can't be set: {error}"
        ));
    }
}

/// Puts the streams in their places; a terminal becomes the session's controlling one.
pub(crate) fn connect_stdio(
    stdio: Stdio,
    terminal: Option<OwnedFd>,
    procfs: &Procfs,
) -> Result<(), StartError> {
    let what = || failed("connecting the standard streams");
    match (stdio, terminal) {
        (
            Stdio::Pipes {
                stdin,
                stdout,
                stderr,
            },
            _,
        ) => {
            let stdin = match stdin {
                Some(stdin) => stdin,
                None => open_null(procfs)?,
            };
            rustix::stdio::dup2_stdin(&stdin).map_err(what())?;
            rustix::stdio::dup2_stdout(&stdout).map_err(what())?;
            rustix::stdio::dup2_stderr(&stderr).map_err(what())?;
        }
        (Stdio::Terminal { .. }, Some(terminal)) => {
            rustix::process::ioctl_tiocsctty(&terminal)
                .map_err(failed("taking control of the terminal"))?;
            rustix::stdio::dup2_stdin(&terminal).map_err(what())?;
            rustix::stdio::dup2_stdout(&terminal).map_err(what())?;
            rustix::stdio::dup2_stderr(&terminal).map_err(what())?;
        }
        (Stdio::Terminal { .. }, None) => {
            return Err(StartError::Other("the terminal is missing".into()));
        }
    }
    Ok(())
}

/// The container's /dev/null, which is looked at before it is opened: it may be anything in one that runs.
fn open_null(procfs: &Procfs) -> Result<OwnedFd, StartError> {
    let what = || unfit("opening the container's /dev/null");
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(what())?;
    let stat = rustix::fs::fstat(&found).map_err(what())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != makedev(1, 3)
    {
        return Err(StartError::Invalid(
            "/dev/null in the container is not the null device".into(),
        ));
    }
    procfs.reopen(&found, OFlags::RDWR).map_err(what())
}

/// Gives the process its identity and its limits and takes everything else, and finds its program.
pub(crate) fn confine(
    process: &Process,
    filter: &[u8],
    procfs: Procfs,
    reporter: &mut Reporter,
) -> Result<Program, StartError> {
    set_rlimits(process.rlimits().as_deref().unwrap_or_default(), reporter)?;
    let user = process.user();
    own_stdio(user);
    let capabilities = Sets::new(process.capabilities().as_ref(), reporter)?;
    set_security_label(&procfs, process)?;
    drop(procfs);
    // Whatever the shim had open must be out of the program's reach, and out of the reach of the paths that
    // name it and its directory: "/proc/self/fd/7/../.." would lead out of the container (CVE-2024-21626).
    // Before the filter, which may be one that doesn't let descriptors be closed this way.
    // SAFETY: what is used from here on is the reports' socket alone.
    unsafe { sys::close_others(reporter.socket()) }
        .map_err(failed("closing the shim's descriptors"))?;
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(failed("setting no_new_privs"))?;
    } else {
        // A filter without no_new_privs needs CAP_SYS_ADMIN, which is about to go.
        seccomp::load_program(filter).map_err(failed("loading the seccomp filter"))?;
    }
    reporter.phase("seccomp");
    capabilities.bound()?;
    become_user(user)?;
    capabilities.apply()?;
    program::enter(process.cwd())?;
    rustix::process::umask(Mode::from_raw_mode(user.umask().unwrap_or(0o022)));
    let program = Program::find(process)?;
    if no_new_privileges {
        seccomp::load_program(filter).map_err(failed("loading the seccomp filter"))?;
    }
    Ok(program)
}

/// A program that is not root may open its streams again by name only if it owns them.
fn own_stdio(user: &User) {
    if user.uid() == 0 {
        return;
    }
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        if let Ok(stat) = rustix::fs::fstat(stream)
            && stat.st_rdev != rustix::fs::makedev(1, 3)
        {
            // A stream that can't change hands, such as one on a read-only filesystem, works as it is.
            let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(user.uid())), None);
        }
    }
}

/// The numbers are taken as they come: what a name means was looked up by who made the specification.
fn become_user(user: &User) -> Result<(), StartError> {
    let groups: Vec<Gid> = user
        .additional_gids()
        .iter()
        .flatten()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    rustix::thread::set_thread_groups(&groups)
        .map_err(failed("setting the supplementary groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(failed(format!("setting the group id {}", user.gid())))?;
    rustix::thread::set_keep_capabilities(true).map_err(failed("keeping the capabilities"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(failed(format!("setting the user id {}", user.uid())))?;
    rustix::thread::set_keep_capabilities(false).map_err(failed("keeping the capabilities"))
}

/// AppArmor's profile or SELinux' label, for the exec that is to come.
fn set_security_label(procfs: &Procfs, process: &Process) -> Result<(), StartError> {
    if let Some(profile) = process
        .apparmor_profile()
        .as_deref()
        .filter(|profile| !profile.is_empty())
    {
        let value = format!("exec {profile}");
        let what = || failed(format!("applying the AppArmor profile {profile}"));
        match procfs.write("self/attr/apparmor/exec", &value) {
            // Kernels before 5.8 have but the one place that all modules share.
            Err(Errno::NOENT) => procfs.write("self/attr/exec", &value).map_err(what())?,
            result => result.map_err(what())?,
        }
    }
    if let Some(label) = process
        .selinux_label()
        .as_deref()
        .filter(|label| !label.is_empty())
    {
        procfs
            .write("self/attr/exec", label)
            .map_err(failed(format!("applying the SELinux label {label}")))?;
    }
    Ok(())
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// Raising a hard limit needs CAP_SYS_RESOURCE: without, the limit becomes what it may.
fn set_rlimits(limits: &[PosixRlimit], reporter: &Reporter) -> Result<(), StartError> {
    for limit in limits {
        let resource = resource(limit.typ());
        let bounded = |value: u64| (value != u64::MAX).then_some(value);
        let (soft, hard) = (bounded(limit.soft()), bounded(limit.hard()));
        match rustix::process::setrlimit(
            resource,
            Rlimit {
                current: soft,
                maximum: hard,
            },
        ) {
            Ok(()) => {}
            Err(Errno::PERM) => {
                let top = rustix::process::getrlimit(resource).maximum;
                let lower = |value: Option<u64>| match (value, top) {
                    (Some(value), Some(top)) => Some(value.min(top)),
                    (value, top) => value.or(top),
                };
                rustix::process::setrlimit(
                    resource,
                    Rlimit {
                        current: lower(soft),
                        maximum: lower(hard),
                    },
                )
                .map_err(failed(format!("setting {}", limit.typ())))?;
                reporter.warn(format!(
                    "{} stays at {}: the daemon lacks CAP_SYS_RESOURCE to raise a hard limit",
                    limit.typ(),
                    top.map_or("unlimited".into(), |top| top.to_string())
                ));
            }
            Err(error) => return Err(unfit(format!("setting {}", limit.typ()))(error)),
        }
    }
    Ok(())
}

/// Joins the namespaces of a running process but its process id namespace, which the clone has done.
pub(crate) fn join_namespaces(of: &OwnedFd) -> io::Result<()> {
    let kinds = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    sys::setns(of.as_fd(), kinds)
}
