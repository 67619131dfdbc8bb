//! Further processes in a running container: `docker exec`.

mod health;
mod process;
mod start;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use dhow_api::{ExecCreateRequest, ExecInspect, ExecProcessConfig};
use dhow_runtime::Target;
use tokio_util::sync::CancellationToken;

use crate::background::Background;
use crate::containers::Containers;
use crate::containers::container::Container;
use crate::containers::state::State;
use crate::containers::validate;
use crate::error::{EngineError, Result};
use crate::id::{ContainerId, random_hex};
use crate::streams::detach::DetachKeys;

/// How many execs of one container may wait to be started; beyond that the oldest are forgotten.
const WAITING: usize = 256;
/// How many execs that have ended are remembered for `exec inspect`, in all containers together.
const REMEMBERED: usize = 512;

#[derive(Clone, Debug)]
enum Phase {
    Created,
    Running { pid: u32 },
    Ended { code: i32 },
}

struct Exec {
    id: String,
    container: ContainerId,
    request: ExecCreateRequest,
    phase: Mutex<Phase>,
    /// Cancelled once its exit code can be asked for.
    over: CancellationToken,
}

impl Exec {
    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An exec runs once.
    fn check_created(&self) -> Result<()> {
        let id = &self.id;
        match *self.phase() {
            Phase::Created => Ok(()),
            Phase::Running { .. } => Err(already_running(id)),
            Phase::Ended { .. } => Err(EngineError::ExecState {
                exec: id.clone(),
                state: "has already run",
            }),
        }
    }
}

/// All execs. A handle; clones are the same.
#[derive(Clone)]
pub struct Execs {
    inner: Arc<Inner>,
}

struct Inner {
    containers: Containers,
    background: Background,
    table: Mutex<ExecTable>,
    /// How many health checks there were.
    checks: AtomicU64,
    failed_checks: AtomicU64,
}

#[derive(Default)]
struct ExecTable {
    by_id: HashMap<String, Arc<Exec>>,
    ended: std::collections::VecDeque<String>,
}

impl Execs {
    pub fn new(containers: Containers, background: Background) -> Execs {
        Execs {
            inner: Arc::new(Inner {
                containers,
                background,
                table: Mutex::default(),
                checks: AtomicU64::new(0),
                failed_checks: AtomicU64::new(0),
            }),
        }
    }

    /// How many health checks there were, and how many of them failed.
    pub fn health_checks(&self) -> (u64, u64) {
        let inner = &self.inner;
        (
            inner.checks.load(Ordering::Relaxed),
            inner.failed_checks.load(Ordering::Relaxed),
        )
    }

    fn table(&self) -> std::sync::MutexGuard<'_, ExecTable> {
        self.inner.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn exec(&self, id: &str) -> Result<Arc<Exec>> {
        self.table()
            .by_id
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoSuchExec(id.to_owned()))
    }

    fn remember(&self, id: &str) {
        let mut table = self.table();
        table.ended.push_back(id.to_owned());
        if table.ended.len() > REMEMBERED
            && let Some(oldest) = table.ended.pop_front()
        {
            table.by_id.remove(&oldest);
        }
    }

    /// Forgets the execs of a container whose process has ended.
    pub fn forget(&self, ids: &[String]) {
        let mut table = self.table();
        for id in ids {
            // Those that ran keep their exit code for a while.
            let keep = table
                .by_id
                .get(id)
                .is_some_and(|e| !matches!(*e.phase(), Phase::Created));
            if !keep {
                table.by_id.remove(id);
            }
        }
    }
}

impl Execs {
    fn running(&self, name: &str) -> Result<Arc<Container>> {
        let container = self.inner.containers.find(name)?;
        let id = &container.id;
        match container.state() {
            State::Running(_) => Ok(container),
            State::Paused(_) => Err(EngineError::Paused {
                container: id.clone(),
                before: "exec",
            }),
            State::Restarting(_) => Err(EngineError::Restarting(id.clone())),
            _ => Err(EngineError::NotRunning(id.clone())),
        }
    }

    pub async fn create(&self, name: &str, request: ExecCreateRequest) -> Result<String> {
        let container = self.running(name)?;
        if request.cmd.iter().flatten().next().is_none() {
            return Err(EngineError::invalid("no exec command specified"));
        }
        DetachKeys::parse(&request.detach_keys)?;
        for variable in request.env.iter().flatten() {
            if variable.is_empty() || variable.starts_with('=') {
                return Err(EngineError::invalid(format!(
                    "invalid environment variable: {variable}"
                )));
            }
        }
        validate::check_working_dir(&request.working_dir)?;
        validate::check_text(
            [
                ("working directory", request.working_dir.as_str()),
                ("user", &request.user),
            ]
            .into_iter()
            .chain(
                request
                    .cmd
                    .iter()
                    .flatten()
                    .map(|word| ("command", word.as_str())),
            )
            .chain(
                request
                    .env
                    .iter()
                    .flatten()
                    .map(|v| ("environment variable", v.as_str())),
            ),
        )?;
        // Fails early on a user that is not there.
        self.process(&container, &request)?;
        let id = random_hex()?;
        let command = command_line(&request);
        let exec = Arc::new(Exec {
            id: id.clone(),
            container: container.id.clone(),
            request,
            phase: Mutex::new(Phase::Created),
            over: CancellationToken::new(),
        });
        self.table().by_id.insert(id.clone(), exec);
        container.view().execs.push(id.clone());
        self.forget_oldest_waiting(&container);
        self.inner.containers.tell(
            &container,
            format!("exec_create: {command}"),
            &[("execID", &id)],
        );
        Ok(id)
    }

    /// Clients that make execs and never start them must not fill the memory.
    fn forget_oldest_waiting(&self, container: &Container) {
        let mut view = container.view();
        if view.execs.len() <= WAITING {
            return;
        }
        let mut table = self.table();
        let is_waiting = |id: &String| table.by_id.get(id).is_none_or(|e| e.phase().is_created());
        if view.execs.iter().filter(|id| is_waiting(id)).count() <= WAITING {
            return;
        }
        if let Some(at) = view.execs.iter().position(is_waiting) {
            let oldest = view.execs.remove(at);
            table.by_id.remove(&oldest);
        }
    }

    /// Fails if the exec can't be started now. Returns whether it has a terminal.
    pub fn startable(&self, id: &str) -> Result<bool> {
        let exec = self.exec(id)?;
        exec.check_created()?;
        self.running(exec.container.as_str())?;
        Ok(exec.request.tty)
    }

    pub fn inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.exec(id)?;
        let request = &exec.request;
        let phase = exec.phase().clone();
        let mut command = request.cmd.iter().flatten().cloned();
        let (running, pid, exit_code) = match phase {
            Phase::Created => (false, 0, None),
            Phase::Running { pid } => (true, i64::from(pid), None),
            Phase::Ended { code } => (false, 0, Some(i64::from(code))),
        };
        Ok(ExecInspect {
            id: exec.id.clone(),
            running,
            exit_code,
            process_config: ExecProcessConfig {
                tty: request.tty,
                entrypoint: command.next().unwrap_or_default(),
                arguments: command.collect(),
                privileged: Some(request.privileged),
                user: request.user.clone(),
            },
            open_stdin: request.attach_stdin,
            open_stderr: request.attach_stderr,
            open_stdout: request.attach_stdout,
            can_remove: false,
            container_id: exec.container.to_string(),
            detach_keys: String::new(),
            pid,
        })
    }

    pub async fn resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.exec(id)?;
        if !matches!(*exec.phase(), Phase::Running { .. }) {
            return Err(EngineError::ExecState {
                exec: id.to_owned(),
                state: "is not running",
            });
        }
        let container = self.inner.containers.find(exec.container.as_str())?;
        container
            .shim()?
            .resize(Target::Exec(id.to_owned()), height, width)
            .await
            .map_err(|source| EngineError::Resize {
                what: format!("exec {id}"),
                source,
            })
    }
}

/// The command as its events show it.
fn command_line(request: &ExecCreateRequest) -> String {
    let words = request.cmd.as_deref().unwrap_or_default();
    match words {
        // As Docker puts it together.
        [one] => format!("{one} "),
        words => words.join(" "),
    }
}

fn already_running(id: &str) -> EngineError {
    EngineError::ExecState {
        exec: id.to_owned(),
        state: "is already running",
    }
}

impl Phase {
    fn is_created(&self) -> bool {
        matches!(self, Phase::Created)
    }
}
