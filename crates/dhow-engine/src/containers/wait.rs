//! Waiting for a container: registered when the call returns, so that an end that follows at once is not
//! missed.

use dhow_api::{WaitExitError, WaitResponse};

use super::Containers;
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
    /// The future holds nothing of the container but what it waits for.
    pub fn wait(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = WaitResponse> + Send + use<>> {
        let container = self.inner.table.find(name)?;
        let mut progress = container.watch();
        let seen = progress.borrow_and_update().exits;
        drop(container);
        Ok(async move {
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
        })
    }
}
