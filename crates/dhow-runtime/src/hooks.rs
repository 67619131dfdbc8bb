//! Hooks: programs of the host's that a specification has run while a container starts, and after its end (OCI
//! runtime-spec 1.2, config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle").
//!
//! Each gets the container's state on its standard input, and finds the specification in the bundle, whose
//! `config.json` is there for hooks alone. One that fails fails the start. Nobody waits for a hook for ever, nor
//! keeps more than the beginning of what it says.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, Hooks, Spec};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::Serialize;

use crate::init::failed;
use crate::protocol::{Rootfs, StartError, StartRequest};

/// How long one may take that has no timeout of its own. A start as a whole has a minute.
const PATIENCE: Duration = Duration::from_secs(30);

/// As long at most after the end, while a daemon waits for what is left to be cleared away.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// Bytes of each of its outputs that an error shows.
const MAX_SHOWN: usize = 4 << 10;

/// For hooks that name no environment: what runs in the place of a shell's user finds the usual programs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The namespaces are there, the root filesystem is mounted: in the host's namespaces.
    Prestart,
    CreateRuntime,
    /// The same, in the container's namespaces, where the root is still the host's.
    CreateContainer,
    /// In the container, right before its program.
    StartContainer,
    /// The program runs.
    Poststart,
    /// The container has ended.
    Poststop,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Moment::Prestart => "prestart",
            Moment::CreateRuntime => "createRuntime",
            Moment::CreateContainer => "createContainer",
            Moment::StartContainer => "startContainer",
            Moment::Poststart => "poststart",
            Moment::Poststop => "poststop",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Moment::Prestart | Moment::CreateRuntime | Moment::CreateContainer => "creating",
            Moment::StartContainer => "created",
            Moment::Poststart => "running",
            Moment::Poststop => "stopped",
        }
    }

    fn patience(self, hook: &Hook) -> Duration {
        let own = hook
            .timeout()
            .and_then(|seconds| u64::try_from(seconds).ok());
        let patience = own.map_or(PATIENCE, Duration::from_secs);
        match self {
            Moment::Poststop => patience.min(LAST_PATIENCE),
            _ => patience,
        }
    }

    fn of(self, hooks: &Hooks) -> &[Hook] {
        let all = match self {
            Moment::Prestart => hooks.prestart(),
            Moment::CreateRuntime => hooks.create_runtime(),
            Moment::CreateContainer => hooks.create_container(),
            Moment::StartContainer => hooks.start_container(),
            Moment::Poststart => hooks.poststart(),
            Moment::Poststop => hooks.poststop(),
        };
        all.as_deref().unwrap_or_default()
    }
}

/// Whether there are any for that moment.
pub(crate) fn any(spec: &Spec, moment: Moment) -> bool {
    let hooks = spec.hooks().as_ref();
    hooks.is_some_and(|hooks| !moment.of(hooks).is_empty())
}

/// The container's state as a hook reads it (runtime.md, "State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a std::collections::HashMap<String, String>>,
}

/// Runs the hooks of a moment one after another. `pid` is the container's process, as the hook's namespace counts.
pub(crate) fn run(
    request: &StartRequest,
    moment: Moment,
    pid: Option<i32>,
) -> Result<(), StartError> {
    let Some(hooks) = request.spec.hooks() else {
        return Ok(());
    };
    let hooks = moment.of(hooks);
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(&State {
        oci_version: request.spec.version(),
        id: &request.id,
        status: moment.status(),
        pid,
        bundle: &request.bundle,
        annotations: request.spec.annotations().as_ref(),
    })
    .map_err(failed("writing the container's state for its hooks"))?;
    for (number, hook) in hooks.iter().enumerate() {
        run_one(hook, &state, moment.patience(hook)).map_err(|why| {
            StartError::Other(format!(
                "error running {} hook #{number}: {why}",
                moment.name()
            ))
        })?;
    }
    Ok(())
}

/// Puts the specification where hooks look for it, with the root filesystem's place in the container's mount
/// namespace; only if there are hooks.
pub(crate) fn write_bundle(request: &StartRequest) -> Result<(), StartError> {
    if request.spec.hooks().is_none() {
        return Ok(());
    }
    let path = request.bundle.join("config.json");
    let what = || failed(format!("writing {} for the hooks", path.display()));
    let mut spec = request.spec.clone();
    let root = match &request.rootfs {
        Rootfs::Overlay { upper, .. } => upper,
        Rootfs::Directory(path) => path,
    };
    if let Some(found) = spec.root_mut() {
        found.set_path(root.clone());
    }
    let text = serde_json::to_vec(&spec).map_err(io::Error::other);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640);
    text.and_then(|text| options.open(&path)?.write_all(&text))
        .map_err(what())
}

fn run_one(hook: &Hook, state: &[u8], patience: Duration) -> Result<(), String> {
    let words = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{}: no such file or directory", hook.path().display())
        }
        _ => format!("{}: {error}", hook.path().display()),
    };
    let mut command = Command::new(hook.path());
    let arguments = hook.args().as_deref().unwrap_or_default();
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    let usual = [PATH.to_owned()];
    let variables = hook.env().as_deref().unwrap_or(&usual);
    command
        .env_clear()
        .envs(variables.iter().filter_map(|v| v.split_once('=')))
        .stdin(Stdio::from(
            input(state).map_err(|error| format!("its standard input: {error}"))?,
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(words)?;
    let mut said = Said::default();
    let ended = said.follow(&mut child, Instant::now() + patience);
    if !matches!(ended, Ok(true)) {
        let _ = child.kill();
    }
    let status = child.wait().map_err(words)?;
    match ended.map_err(words)? {
        false => Err(format!(
            "{} did not end within {} seconds and was killed",
            hook.path().display(),
            patience.as_secs()
        )),
        true if status.success() => Ok(()),
        true => Err(format!(
            "{}, stdout: {}, stderr: {}",
            shown(status),
            String::from_utf8_lossy(&said.out),
            String::from_utf8_lossy(&said.err)
        )),
    }
}

/// A file rather than a pipe: it need not be read.
fn input(state: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file.into())
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// What a hook has written.
#[derive(Default)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Said {
    /// Listens to it until it ends, or the deadline, and returns whether it has ended. What others hold open of its
    /// outputs is not waited for.
    fn follow(&mut self, child: &mut Child, deadline: Instant) -> io::Result<bool> {
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let outputs = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        for fd in outputs.into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            fds.extend(out.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(err.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            match rustix::event::poll(&mut fds, Some(&patience)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ended = !fds[0].revents().is_empty();
            drop(fds);
            if out.as_mut().is_some_and(|from| take(from, &mut self.out)) {
                out = None;
            }
            if err.as_mut().is_some_and(|from| take(from, &mut self.err)) {
                err = None;
            }
            if ended || left.is_zero() {
                return Ok(ended);
            }
        }
    }
}

/// Reads what there is, keeps the beginning of it, and returns whether that was the end.
fn take(from: &mut impl Read, kept: &mut Vec<u8>) -> bool {
    let mut piece = [0; 1 << 12];
    // One that writes without an end is not to be read without an end.
    for _ in 0..64 {
        match from.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) => {
                let room = MAX_SHOWN.saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Hook {
        let mut hook = Hook::default();
        hook.set_path("/bin/sh".into())
            .set_args(Some(["hook", "-c", script].map(str::to_owned).to_vec()));
        hook
    }

    fn run_one(hook: &Hook, state: &[u8]) -> Result<(), String> {
        super::run_one(hook, state, Duration::from_secs(60))
    }

    #[test]
    fn what_a_hook_does_is_told() {
        let state = vec![b'x'; 200_000];
        assert_eq!(run_one(&shell("test $(wc -c) = 200000"), &state), Ok(()));
        // It need not read, and what it leaves behind is not waited for.
        assert_eq!(run_one(&shell("sleep 100 & exit 0"), &state), Ok(()));
        let failed = run_one(&shell("echo out; echo err >&2; exit 3"), b"{}");
        assert_eq!(
            failed,
            Err("exit status 3, stdout: out\n, stderr: err\n".to_owned())
        );
        let killed = run_one(&shell("kill -9 $$"), b"{}");
        assert!(killed.unwrap_err().starts_with("signal 9"));
        let slow = super::run_one(&shell("exec sleep 100"), b"{}", Duration::from_secs(1));
        let slow = slow.unwrap_err();
        assert!(slow.contains("did not end within 1 seconds"), "{slow}");
        let loud = run_one(&shell("head -c 10000000 /dev/zero; exit 1"), b"{}");
        assert!(loud.unwrap_err().len() < 3 * MAX_SHOWN);
        let mut missing = shell("");
        missing.set_path("/no/such/hook".into());
        assert_eq!(
            run_one(&missing, b"{}"),
            Err("/no/such/hook: no such file or directory".to_owned())
        );
    }
}
