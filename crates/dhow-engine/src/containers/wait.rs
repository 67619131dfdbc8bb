//! Waiting for a container: registered when the call returns, so that an end that follows at once is not
//! missed.

use std::time::Instant;

use dhow_api::{WaitExitError, WaitResponse};
use futures_util::future::Either;

use super::Containers;
use super::container::Container;
use crate::error::{EngineError, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running now, or once it has ended, whatever its restart policy makes of that.
    #[default]
    NotRunning,
    /// The next end of a run, also of a container that has not been started yet.
    NextExit,
    /// Gone; the exit code is that of its last run.
    Removed,
}

impl WaitCondition {
    /// As in the query parameter; empty is the default.
    pub fn parse(text: &str) -> Result<WaitCondition> {
        match text {
            "" | "not-running" => Ok(WaitCondition::NotRunning),
            "next-exit" => Ok(WaitCondition::NextExit),
            "removed" => Ok(WaitCondition::Removed),
            other => Err(EngineError::invalid(format!(
                "invalid condition: \"{other}\""
            ))),
        }
    }
}

impl Containers {
    /// A container of `--rm` has ended and gone: its exit code is kept for those who come a little late.
    pub fn note_departure(&self, container: &Container, code: i32) {
        let departed = &self.inner.departed;
        departed.note(container.id.clone(), code, Instant::now());
    }

    /// The future holds nothing of the container but what it waits for.
    pub fn wait(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = WaitResponse> + Send + use<>> {
        let mut progress = match self.inner.table.find(name) {
            Ok(container) => container.watch(),
            // Never again will it exit; but what it has come to can be told.
            Err(missing) if condition != WaitCondition::NextExit => {
                let code = self.inner.departed.code(name, Instant::now());
                let answer = WaitResponse {
                    status_code: i64::from(code.ok_or(missing)?),
                    error: None,
                };
                return Ok(Either::Left(std::future::ready(answer)));
            }
            Err(missing) => return Err(missing),
        };
        let seen = progress.borrow_and_update().exits;
        Ok(Either::Right(async move {
            // An error means that everything that knew the container is gone, and so is the container.
            let _ = progress
                .wait_for(|p| match condition {
                    WaitCondition::NotRunning => !p.live || p.exits > seen,
                    WaitCondition::NextExit => p.exits > seen || p.removed,
                    WaitCondition::Removed => p.removed,
                })
                .await;
            let last = progress.borrow();
            WaitResponse {
                status_code: i64::from(last.exit_code),
                // Who waits for what a start will come to learns from the start itself why it failed.
                error: Some(last.error.clone())
                    .filter(|e| !e.is_empty() && condition == WaitCondition::NotRunning)
                    .map(|message| WaitExitError { message }),
            }
        }))
    }
}
