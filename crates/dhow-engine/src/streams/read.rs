//! A container's log, as a client asks for it.

use super::Streams;
use super::logs::{self, LogOptions, LogStream};
use crate::containers::logging::LogSettings;
use crate::containers::state::State;
use crate::error::{EngineError, Result};

impl Streams {
    /// Reads or follows what a container has written.
    pub fn logs(&self, name: &str, options: LogOptions) -> Result<LogStream> {
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let container = self.inner.containers.find(name)?;
        let definition = container.definition();
        let log = LogSettings::read(&definition.host_config.log_config)?
            .readable(&container)
            .ok_or_else(|| {
                EngineError::Unsupported(
                    "configured logging driver does not support reading".to_owned(),
                )
            })?;
        let mut progress = container.watch();
        let state = container.state();
        let follow = options.follow && (state.is_live() || matches!(state, State::Starting(_)));
        let seen = progress.borrow_and_update().exits;
        let ended = async move {
            // An error means that the container is gone.
            let _ = progress.wait_for(|p| p.exits > seen || p.removed).await;
        };
        let options = LogOptions { follow, ..options };
        logs::read(
            &self.inner.watcher,
            log,
            options,
            definition.config.tty,
            ended,
        )
    }
}
