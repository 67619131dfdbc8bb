//! The daemon's own log, on standard error: lines for people, or JSON for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};

/// Changes the level of the running daemon's log.
pub struct LevelHandle(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

impl LevelHandle {
    pub fn set(&self, level: LogLevel) {
        if let Err(e) = self.0.reload(filter(level)) {
            tracing::warn!("the log level could not be changed: {e}");
        }
    }
}

/// Begins logging. A second call in one process has no effect: the first decides.
pub fn start(level: LogLevel, format: LogFormat, raw: bool) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = !raw && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let begun = match format {
        LogFormat::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(colours)
                    .with_target(false),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr)
                    .with_target(false),
            )
            .try_init(),
    };
    if let Err(e) = begun {
        tracing::debug!("logging was set up before: {e}");
    }
    LevelHandle(handle)
}

/// Our own crates at the chosen level; libraries only when something is wrong, or at `debug` when they
/// say what they do.
fn filter(level: LogLevel) -> EnvFilter {
    let own = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Fatal | LogLevel::Panic => "error",
    };
    let libraries = match level {
        LogLevel::Error | LogLevel::Fatal | LogLevel::Panic => "error",
        _ => "warn",
    };
    let crates = [
        "dhow",
        "dhow_daemon",
        "dhow_engine",
        "dhow_image",
        "dhow_distribution",
        "dhow_net",
        "dhow_runtime",
        "dhow_registry",
        "dhow_store",
    ];
    let mut directives = libraries.to_owned();
    for name in crates {
        directives.push_str(&format!(",{name}={own}"));
    }
    EnvFilter::new(directives)
}
