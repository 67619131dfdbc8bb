//! Taking away what a container has logged, while it runs or not. Who follows the log goes on with what comes.

use dhow_runtime::logfile;
use rustix::io::Errno;

use super::Streams;
use crate::background::blocking;
use crate::containers::logging::LogSettings;
use crate::error::{EngineError, Result};

impl Streams {
    /// Takes away all that a container has logged; who follows goes on with what comes. Fails for drivers that keep
    /// nothing, and where it runs under a shim that can't be reached.
    pub async fn clear_logs(&self, name: &str) -> Result<()> {
        let container = self.inner.containers.find(name)?;
        let (path, _) = LogSettings::read(&container.definition().host_config.log_config)?
            .readable(&container)
            .ok_or_else(|| {
                EngineError::Unsupported(
                    "configured logging driver keeps no log that could be cleared".to_owned(),
                )
            })?;
        let failed = || EngineError::io(format!("clearing the log {}", path.display()));
        // Nothing starts, and writes, while the files of a container go that does not run.
        let _ops = container.ops.lock().await;
        match container.shim() {
            // It has the file open, and makes the next one.
            Ok(shim) => match shim.clear_log().await {
                // It has just ended, and writes no more.
                Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(e) if e.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                    return Err(EngineError::Refused(format!(
                        "container {} was started by an earlier version, which can't clear logs: restart it",
                        container.id
                    )));
                }
                result => return result.map_err(failed()),
            },
            Err(EngineError::NotRunning(_)) => {}
            // It may write to the files, and would go on with those that are gone.
            Err(unreachable) => return Err(unreachable),
        }
        let files = path.clone();
        blocking(move || logfile::remove_all(&files))
            .await?
            .map_err(failed())
    }
}
