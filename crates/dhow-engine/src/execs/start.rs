//! Starting an exec, and what follows when it ends.

use std::sync::Arc;

use dhow_api::ExecStartRequest;
use dhow_runtime::{AttachStreams, ExecRequest, ExitRecord, Shim, Target};

use super::{Exec, Execs, Phase, already_running, command_line};
use crate::containers::container::Container;
use crate::error::{EngineError, Result};
use crate::streams::attach::{AttachSession, stream_pair};
use crate::streams::detach::{DetachKeys, DetachScanner};

const FAILED: &str = "OCI runtime exec failed: exec failed";

impl Execs {
    /// Starts the process. `None` for one that runs detached.
    pub async fn start(
        &self,
        id: &str,
        options: ExecStartRequest,
    ) -> Result<Option<AttachSession>> {
        let exec = self.exec(id)?;
        exec.check_created()?;
        let container = self.running(exec.container.as_str())?;
        let shim = container.shim()?;
        let request = &exec.request;
        let tty = request.tty;
        let stdin = request.attach_stdin && !options.detach;
        let process = self.process(&container, request)?;
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
        let command = command_line(request);
        {
            // Taken before the process exists: of two starts just one goes on.
            let mut phase = exec.phase();
            if !phase.is_created() {
                return Err(already_running(id));
            }
            *phase = Phase::Running { pid: 0 };
        }
        self.inner.containers.tell(
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
                let error = EngineError::start(FAILED, &e);
                let code = match &error {
                    EngineError::Start { exit_code, .. } => *exit_code,
                    _ => 128,
                };
                *exec.phase() = Phase::Ended { code };
                self.over(&container, id, code);
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
                let (closing, over) = (self.inner.background.clone(), exec.over.clone());
                let target = Target::Exec(id.to_owned());
                session.on_output_end(async move {
                    // A client of a terminal is let go when it has no more input.
                    if shim.has_ended(target).await {
                        tokio::select! {
                            () = closing.closing() => {}
                            () = over.cancelled() => {}
                        }
                    }
                });
                let (containers, id) = (self.inner.containers.clone(), id.to_owned());
                session.on_detach(move || {
                    containers.tell(&container, "exec_detach", &[("execID", &id)]);
                });
                Some(session)
            }
        })
    }

    /// Notes the end of an exec. A task of its own, because nobody need be attached.
    fn keep_exec(&self, container: Arc<Container>, exec: Arc<Exec>, shim: Shim) {
        let execs = self.clone();
        let mut exit = shim.exec_exit(&exec.id);
        self.inner.background.spawn(async move {
            let record: Option<ExitRecord> = tokio::select! {
                () = execs.inner.background.closing() => return,
                record = exit.wait_for(Option::is_some) => record.ok().and_then(|r| r.clone()),
            };
            // Without a record the container ended, and its kernel killed all that was in it.
            let code = record.map_or(137, |r| r.code);
            *exec.phase() = Phase::Ended { code };
            execs.over(&container, &exec.id, code);
            exec.over.cancel();
        });
    }

    fn over(&self, container: &Container, id: &str, code: i32) {
        container.view().execs.retain(|e| e != id);
        self.remember(id);
        self.inner.containers.tell(
            container,
            "exec_die",
            &[("execID", id), ("exitCode", &code.to_string())],
        );
    }
}
