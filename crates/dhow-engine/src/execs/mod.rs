//! Further processes in a running container: `docker exec`.

pub mod health;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use dhow_api::{ExecCreateRequest, ExecInspect, ExecProcessConfig, ExecStartRequest};
use dhow_runtime::{AttachStreams, ExecRequest, ExitRecord, Shim, StartError, Target};
use oci_spec::runtime::Process;
use tokio_util::sync::CancellationToken;

use crate::containers::container::Container;
use crate::containers::spec::{self, env, process, security};
use crate::containers::state::State;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::id::{ContainerId, random_hex};
use crate::streams::attach::{AttachSession, stream_pair};
use crate::streams::detach::{DetachKeys, DetachScanner};

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
            Phase::Running { .. } => Err(EngineError::Conflict(format!(
                "exec command {id} is already running"
            ))),
            Phase::Ended { .. } => Err(EngineError::Conflict(format!(
                "exec command {id} has already run"
            ))),
        }
    }
}

/// All execs, by id.
#[derive(Default)]
pub struct Execs {
    inner: Mutex<ExecTable>,
}

#[derive(Default)]
struct ExecTable {
    by_id: HashMap<String, Arc<Exec>>,
    ended: std::collections::VecDeque<String>,
}

impl Execs {
    fn table(&self) -> std::sync::MutexGuard<'_, ExecTable> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn find(&self, id: &str) -> Result<Arc<Exec>> {
        self.table()
            .by_id
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NotFound(format!("No such exec instance: {id}")))
    }

    fn ended(&self, id: &str) {
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

/// What a start that failed means for a client; the exit code is in the words, as for a container.
fn start_error(e: &StartError) -> EngineError {
    let exit_code = match e {
        StartError::NotFound(_) => 127,
        StartError::NotExecutable(_) => 126,
        StartError::Other(_) => 128,
    };
    EngineError::Start {
        exit_code,
        message: format!("OCI runtime exec failed: exec failed: {e}: unknown"),
    }
}

impl Engine {
    fn exec_container(&self, name: &str) -> Result<Arc<Container>> {
        let container = self.inner.containers.find(name)?;
        let id = &container.id;
        match container.state() {
            State::Running(_) => Ok(container),
            State::Paused(_) => Err(EngineError::Conflict(format!(
                "container {id} is paused, unpause the container before exec"
            ))),
            State::Restarting(_) => Err(EngineError::Conflict(format!(
                "container {id} is restarting, wait until the container is running"
            ))),
            _ => Err(EngineError::Conflict(format!(
                "container {id} is not running"
            ))),
        }
    }

    pub async fn exec_create(&self, name: &str, request: ExecCreateRequest) -> Result<String> {
        let container = self.exec_container(name)?;
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
        if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                request.working_dir
            )));
        }
        // Fails early on a user that is not there.
        self.exec_process(&container, &request)?;
        let id = random_hex()?;
        let command = request
            .cmd
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        let exec = Arc::new(Exec {
            id: id.clone(),
            container: container.id.clone(),
            request,
            phase: Mutex::new(Phase::Created),
            over: CancellationToken::new(),
        });
        self.inner.execs.table().by_id.insert(id.clone(), exec);
        container.view().execs.push(id.clone());
        self.container_event(
            &container,
            format!("exec_create: {command}"),
            &[("execID", &id)],
        );
        Ok(id)
    }

    /// Fails if the exec can't be started now. Returns whether it has a terminal.
    pub fn exec_startable(&self, id: &str) -> Result<bool> {
        let exec = self.inner.execs.find(id)?;
        exec.check_created()?;
        self.exec_container(exec.container.as_str())?;
        Ok(exec.request.tty)
    }

    /// Starts the process. `None` for one that runs detached.
    pub async fn exec_start(
        &self,
        id: &str,
        options: ExecStartRequest,
    ) -> Result<Option<AttachSession>> {
        let exec = self.inner.execs.find(id)?;
        exec.check_created()?;
        let container = self.exec_container(exec.container.as_str())?;
        let shim = container.shim()?;
        let request = &exec.request;
        let tty = request.tty;
        let stdin = request.attach_stdin && !options.detach;
        let process = self.exec_process(&container, request)?;
        let (ours, theirs, streams) = if options.detach {
            (None, None, None)
        } else {
            let (ours, theirs) = stream_pair().map_err(EngineError::io("attaching"))?;
            let streams = AttachStreams {
                stdin,
                stdout: request.attach_stdout,
                stderr: request.attach_stderr,
            };
            (Some(ours), Some(theirs), Some(streams))
        };
        let size = options.console_size.or(request.console_size);
        let command = request
            .cmd
            .iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ");
        {
            // Taken before the process exists: of two starts just one goes on.
            let mut phase = exec.phase();
            if !phase.is_created() {
                return Err(EngineError::Conflict(format!(
                    "exec command {id} is already running"
                )));
            }
            *phase = Phase::Running { pid: 0 };
        }
        self.container_event(
            &container,
            format!("exec_start: {command}"),
            &[("execID", id)],
        );
        let started = shim
            .exec(
                ExecRequest {
                    exec_id: id.to_owned(),
                    process,
                    open_stdin: stdin,
                    attach: streams,
                    tty_size: size.and_then(|[rows, cols]| {
                        Some((u16::try_from(rows).ok()?, u16::try_from(cols).ok()?))
                            .filter(|(r, c)| *r > 0 && *c > 0)
                    }),
                },
                theirs,
            )
            .await;
        match started {
            Ok(started) => {
                *exec.phase() = Phase::Running { pid: started.pid };
                self.keep_exec(container.clone(), exec.clone(), shim.clone());
            }
            Err(e) => {
                let error = start_error(&e);
                let code = match &error {
                    EngineError::Start { exit_code, .. } => *exit_code,
                    _ => 128,
                };
                *exec.phase() = Phase::Ended { code };
                self.exec_ended(&container, id, code);
                return Err(error);
            }
        }
        Ok(match ours {
            None => None,
            Some(ours) => {
                let detach = if tty && stdin {
                    Some(DetachScanner::new(DetachKeys::parse(&request.detach_keys)?))
                } else {
                    None
                };
                let mut session = AttachSession::new(Some(ours), tty, stdin, detach);
                let (closing, over) = (self.inner.closing.clone(), exec.over.clone());
                let target = Target::Exec(id.to_owned());
                session.on_output_end(async move {
                    // A client of a terminal is let go when it has no more input.
                    if shim.has_ended(target).await {
                        tokio::select! {
                            () = closing.cancelled() => {}
                            () = over.cancelled() => {}
                        }
                    }
                });
                let (engine, id) = (self.clone(), id.to_owned());
                session.on_detach(move || {
                    engine.container_event(&container, "exec_detach", &[("execID", &id)]);
                });
                Some(session)
            }
        })
    }

    /// Notes the end of an exec. A task of its own, because nobody need be attached.
    fn keep_exec(&self, container: Arc<Container>, exec: Arc<Exec>, shim: Shim) {
        let engine = self.clone();
        let mut exit = shim.exec_exit(&exec.id);
        self.inner.tasks.spawn(async move {
            let record: Option<ExitRecord> = tokio::select! {
                () = engine.inner.closing.cancelled() => return,
                record = exit.wait_for(Option::is_some) => record.ok().and_then(|r| r.clone()),
            };
            // Without a record the container ended, and its kernel killed all that was in it.
            let code = record.map_or(137, |r| r.code);
            *exec.phase() = Phase::Ended { code };
            engine.exec_ended(&container, &exec.id, code);
            exec.over.cancel();
        });
    }

    fn exec_ended(&self, container: &Container, id: &str, code: i32) {
        container.view().execs.retain(|e| e != id);
        self.inner.execs.ended(id);
        self.container_event(
            container,
            "exec_die",
            &[("execID", id), ("exitCode", &code.to_string())],
        );
    }

    /// The process of an exec: the container's own, with what the request changes.
    pub(crate) fn exec_process(
        &self,
        container: &Container,
        request: &ExecCreateRequest,
    ) -> Result<Process> {
        let definition = container.definition();
        let (config, host) = (&definition.config, &definition.host_config);
        let user_text = match request.user.as_str() {
            "" => config.user.as_str(),
            user => user,
        };
        let group_add = match request.user.as_str() {
            "" => host.group_add.as_deref().unwrap_or_default(),
            _ => &[],
        };
        let user = self.resolve_user(container, user_text, group_add)?;
        let capabilities = spec::caps::effective(
            &self.inner.host.capabilities,
            request.privileged || host.privileged,
            host.cap_add.as_deref().unwrap_or_default(),
            host.cap_drop.as_deref().unwrap_or_default(),
        )?;
        let mut variables = env::of_container(
            &config.hostname,
            request.tty,
            config.env.as_deref().unwrap_or_default(),
        );
        env::merge(&mut variables, request.env.as_deref().unwrap_or_default());
        env::add_home(&mut variables, &user.home);
        let directory = [request.working_dir.as_str(), config.working_dir.as_str()]
            .into_iter()
            .find(|d| !d.is_empty())
            .unwrap_or("/");
        let mut made = Process::default();
        made.set_terminal(Some(request.tty));
        made.set_user(process::user(&user, host.umask)?);
        made.set_args(Some(request.cmd.clone().unwrap_or_default()));
        made.set_env(Some(variables));
        made.set_cwd(directory.into());
        made.set_capabilities(Some(process::capability_sets(&capabilities, &user)?));
        made.set_rlimits(
            Some(process::rlimits(
                host.resources.ulimits.as_deref().unwrap_or_default(),
            )?)
            .filter(|r| !r.is_empty()),
        );
        made.set_no_new_privileges(Some(security::parse(host)?.no_new_privileges));
        made.set_oom_score_adj(i32::try_from(host.oom_score_adj).ok());
        made.set_apparmor_profile(None);
        Ok(made)
    }

    pub fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.inner.execs.find(id)?;
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

    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.inner.execs.find(id)?;
        if !matches!(*exec.phase(), Phase::Running { .. }) {
            return Err(EngineError::Conflict(format!("exec {id} is not running")));
        }
        let container = self.inner.containers.find(exec.container.as_str())?;
        container
            .shim()?
            .resize(Target::Exec(id.to_owned()), height, width)
            .await
            .map_err(|e| {
                EngineError::Conflict(format!("cannot resize the terminal of exec {id}: {e}"))
            })
    }
}

impl Phase {
    fn is_created(&self) -> bool {
        matches!(self, Phase::Created)
    }
}
