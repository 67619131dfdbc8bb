//! Health checks: a command that is executed in a running container now and then, and what its exit codes
//! say of the container (Docker's `HEALTHCHECK`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dhow_api::time::{now, rfc3339_nano};
use dhow_api::{ExecCreateRequest, HealthConfig, HealthcheckResult};
use dhow_runtime::{AttachStreams, ExecRequest, Target};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::{Execs, command_line};
use crate::containers::Notice;
use crate::containers::container::Container;
use crate::containers::definition::Definition;
use crate::containers::health::{Health, HealthStatus};
use crate::containers::signal::SIGKILL;
use crate::containers::state::State;
use crate::id::random_hex;
use crate::streams::attach::stream_pair;

/// How much of a check's output is kept, in bytes.
const MAX_OUTPUT: usize = 4096;
const SECOND: i64 = 1_000_000_000;

/// A check as it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: i64,
    /// After so many failures in a row its restart policy is to start it again; never with 0.
    restart: i64,
}

impl Check {
    /// `None` where there is none, or it was taken away by `NONE`.
    fn of(definition: &Definition) -> Option<Check> {
        let health = definition.config.healthcheck.as_ref()?;
        let HealthConfig { test, .. } = health;
        let command = match test.split_first() {
            Some((kind, words)) if kind == "CMD" && !words.is_empty() => words.to_vec(),
            Some((kind, words)) if kind == "CMD-SHELL" => {
                let mut command = definition.config.shell.clone();
                if command.is_empty() {
                    command = vec!["/bin/sh".into(), "-c".into()];
                }
                command.extend(words.iter().cloned());
                command
            }
            _ => return None,
        };
        let time = |nanos: i64, default: i64| {
            let nanos = if nanos == 0 { default } else { nanos };
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
        };
        Some(Check {
            command,
            interval: time(health.interval, 30 * SECOND),
            timeout: time(health.timeout, 30 * SECOND),
            start_period: time(health.start_period, 0),
            start_interval: time(health.start_interval, 5 * SECOND),
            retries: if health.retries == 0 {
                3
            } else {
                health.retries
            },
            restart: health.restart,
        })
    }
}

impl Execs {
    /// Begins to check a container that has just started, or was taken over, if it has a check.
    pub fn watch_health(&self, container: &Arc<Container>) {
        let definition = container.definition();
        let Some(check) = Check::of(&definition) else {
            container.view().health = None;
            return;
        };
        container.view().health = Some(Health::default());
        let (execs, container) = (self.clone(), container.clone());
        let mut progress = container.watch();
        let seen = progress.borrow_and_update().exits;
        self.inner.background.spawn(async move {
            tokio::select! {
                () = execs.inner.background.closing() => {}
                _ = progress.wait_for(|p| p.exits > seen || p.removed) => {}
                () = execs.check_health(&container, &check) => {}
            }
        });
    }

    async fn check_health(&self, container: &Arc<Container>, check: &Check) {
        let began = tokio::time::Instant::now();
        loop {
            let in_start_period = began.elapsed() < check.start_period;
            let is_starting = container
                .view()
                .health
                .as_ref()
                .is_some_and(|h| h.status == HealthStatus::Starting);
            let pause = if in_start_period && is_starting {
                check.start_interval
            } else {
                check.interval
            };
            tokio::time::sleep(pause).await;
            let State::Running(run) = container.state() else {
                continue;
            };
            let in_start_period = began.elapsed() < check.start_period;
            let start = now();
            let (exit_code, output) = self.probe(container, check).await;
            self.inner.checks.fetch_add(1, Ordering::Relaxed);
            if exit_code != 0 {
                self.inner.failed_checks.fetch_add(1, Ordering::Relaxed);
            }
            let result = HealthcheckResult {
                start: rfc3339_nano(start),
                end: rfc3339_nano(now()),
                exit_code,
                output,
            };
            let (changed, given_up) = {
                let mut view = container.view();
                let Some(health) = &mut view.health else {
                    return;
                };
                let before = health.status;
                health.count(result, check.retries, in_start_period);
                let changed = (health.status != before).then_some(health.status);
                let given_up = check.restart > 0
                    && health.failing_streak > 0
                    && health.failing_streak % check.restart == 0;
                (changed, given_up)
            };
            if let Some(status) = changed {
                self.inner.containers.tell(
                    container,
                    format!("health_status: {}", status.name()),
                    &[],
                );
            }
            if given_up {
                self.inner
                    .containers
                    .notify(Notice::Unhealthy(container.clone(), run.started_at));
            }
        }
    }

    /// Carries out one check: its exit code, and the beginning of its output.
    async fn probe(&self, container: &Container, check: &Check) -> (i64, String) {
        let request = ExecCreateRequest {
            cmd: Some(check.command.clone()),
            ..ExecCreateRequest::default()
        };
        let prepared = self
            .process(container, &request)
            .and_then(|process| Ok((process, random_hex()?)))
            .map_err(|e| e.to_string())
            .and_then(|(process, id)| Ok((process, id, stream_pair().map_err(|e| e.to_string())?)));
        let (process, id, (ours, theirs)) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return (-1, e),
        };
        let shim = match container.shim() {
            Ok(shim) => shim,
            Err(e) => return (-1, e.to_string()),
        };
        let mut exit = shim.exec_exit(&id);
        let command = command_line(&request);
        let tell = |action: String, more: &[(&str, &str)]| {
            let attributes = [&[("execID", id.as_str())], more].concat();
            self.inner.containers.tell(container, action, &attributes);
        };
        tell(format!("exec_create: {command}"), &[]);
        tell(format!("exec_start: {command}"), &[]);
        let started = shim
            .exec(
                ExecRequest {
                    exec_id: id.clone(),
                    process,
                    open_stdin: false,
                    attach: Some(AttachStreams {
                        stdin: false,
                        stdout: true,
                        stderr: true,
                    }),
                    tty_size: None,
                },
                Some(theirs),
            )
            .await;
        if let Err(e) = started {
            return (-1, e.to_string());
        }
        let mut output = Vec::new();
        let ended = tokio::time::timeout(check.timeout, async {
            read_output(ours, &mut output).await;
            exit.wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|r| r.as_ref().map(|r| i64::from(r.code)))
        })
        .await;
        match ended {
            Ok(code) => {
                let code = code.unwrap_or(-1);
                tell("exec_die".into(), &[("exitCode", &code.to_string())]);
                (code, String::from_utf8_lossy(&output).into_owned())
            }
            Err(_) => {
                // It may end just now by itself.
                let _ = shim.signal(Target::Exec(id.clone()), SIGKILL).await;
                tell("exec_die".into(), &[("exitCode", "137")]);
                let seconds = check.timeout.as_secs_f64();
                let said = String::from_utf8_lossy(&output);
                let colon = if said.is_empty() { "" } else { ": " };
                (
                    -1,
                    format!("Health check exceeded timeout ({seconds}s){colon}{said}"),
                )
            }
        }
    }
}

/// The texts of a framed stream until its end, as far as they are kept.
async fn read_output(mut stream: UnixStream, output: &mut Vec<u8>) {
    let mut header = [0u8; 8];
    let mut buffer = [0u8; 4096];
    while stream.read_exact(&mut header).await.is_ok() {
        let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        while left > 0 {
            let piece = left.min(buffer.len());
            match stream.read(&mut buffer[..piece]).await {
                Ok(n) if n > 0 => {
                    let room = MAX_OUTPUT.saturating_sub(output.len());
                    output.extend_from_slice(&buffer[..n.min(room)]);
                    left -= n;
                }
                _ => return,
            }
        }
    }
}
