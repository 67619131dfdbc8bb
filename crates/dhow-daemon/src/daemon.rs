//! The daemon from its command line to its end.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use dhow_engine::EngineError;
use dhow_runtime::SpawnerProcess;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Called, Config, ConfigError, Tls};
use crate::listen::{Host, ListenError, Listener};
use crate::logging::{self, LevelHandle};
use crate::metrics::Metrics;
use crate::notify;
use crate::pidfile::{Pidfile, PidfileError};
use crate::reload::reload;
use crate::routes::{self, AppState};
use crate::server::Server;
use crate::settings::Settings;
use crate::setup::open_engine;
use crate::tls::{self, TlsError};

/// The word by which the program is told to be a spawner.
pub const SPAWNER: &str = "spawner";

/// The daemon waits, mostly: for clients and for the kernel.
const WORKERS: usize = 2;
/// What a worker's stack may grow to; handlers are shallow.
const STACK: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("setting metrics up: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the daemon must run as root: it makes namespaces, mounts and network links")]
    NotRoot,
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> DaemonError {
    move |source| DaemonError::System { what, source }
}

/// Runs the daemon with a command line without the program's name, until it is told to end. Must be called
/// while the process has one thread.
pub fn main<I>(called: Called, arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (config, validate) = match Config::load_as(called, arguments.clone()) {
        Ok(loaded) => loaded,
        Err(ConfigError::Usage(e)) => {
            // Help and version are printed this way, too. Nothing more can be done if that fails.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 1 } else { 0 });
        }
        Err(e) => return fail(&e.into()),
    };
    if validate {
        // As other daemons do it, and Docker's.
        eprintln!("configuration OK");
        return ExitCode::SUCCESS;
    }
    match start(config, (called, arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(error: &DaemonError) -> ExitCode {
    eprintln!("failed to start daemon: {error}");
    ExitCode::FAILURE
}

/// What the daemon was started with, for reading the file again.
type Start = (Called, Vec<OsString>);

fn start(config: Config, start: Start) -> Result<(), DaemonError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    // As dockerd: what is made in containers and volumes must not depend on who started the daemon.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // While there is one thread, and before the heap has grown.
    let spawner = dhow_runtime::fork_spawner().map_err(system("forking the spawner"))?;
    let level = logging::start(config.log_level, config.log_format, config.raw_logs);
    for line in &config.said {
        tracing::info!("{line}");
    }
    if let Some(score) = config.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(system("setting the daemon's oom score"))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(STACK)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    let ended = runtime.block_on(run(config, &start, spawner, &level));
    // Blocking work that is still under way must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// For a spawner that ends before its daemon does: this very program, whatever stands at its path by now.
fn spawner_command() -> std::process::Command {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg(SPAWNER);
    command
}

async fn run(
    config: Config,
    start: &Start,
    spawner: SpawnerProcess,
    level: &LevelHandle,
) -> Result<(), DaemonError> {
    // First, so that no signal is lost.
    let mut signals = Signals::new().map_err(system("handling signals"))?;
    let spawner = spawner
        .into_handle_with(spawner_command)
        .map_err(system("reaching the spawner"))?;
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;
    // All of them before the engine: where one can't be had, nothing is touched.
    let for_metrics = match config.metrics_addr.as_deref() {
        Some(address) => Some(Listener::bind_metrics(address).await?),
        None => None,
    };
    let listeners = listen(&config).await?;
    let engine = open_engine(&config, spawner).await?;

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let settings = Settings::new(config, engine.distribution().clone());
    let state = AppState {
        engine: engine.clone(),
        settings: settings.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let mut accepting = tokio::task::JoinSet::new();
    let mut router = routes::router(state);
    if let Some(listener) = for_metrics {
        tracing::info!(address = listener.address(), "metrics are served");
        let metrics = Metrics::new(engine.clone())?;
        router = metrics.watch(router);
        accepting.spawn(Server::new(metrics.router(), stop.clone()).serve(listener));
    }
    let server = Server::new(router, stop.clone());
    for listener in listeners {
        tracing::info!(address = listener.address(), "API listening");
        accepting.spawn(server.clone().serve(listener));
    }
    notify::ready();
    let resting = tokio::spawn(server.activity().rest_when_quiet());

    loop {
        match signals.next().await {
            Request::End(name) => {
                tracing::info!(signal = name, "ending; containers run on");
                break;
            }
            Request::Reload => reload(start.0, &start.1, &settings, &engine, level).await,
        }
    }
    notify::stopping();
    resting.abort();
    stop.cancel();
    while accepting.join_next().await.is_some() {}
    tasks.close();
    let in_progress = async {
        server.drained().await;
        tasks.wait().await;
        engine.shutdown().await;
    };
    let seconds = settings.current().config.shutdown_timeout;
    // Docker takes a negative time as for ever.
    let patience = u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs);
    tokio::select! {
        () = in_progress => tracing::info!("ended"),
        () = tokio::time::sleep(patience) => {
            tracing::warn!(seconds, "requests are still in progress; ending without them");
        }
        Request::End(_) = signals.next() => tracing::warn!("ending at once"),
    }
    Ok(())
}

async fn listen(config: &Config) -> Result<Vec<Listener>, DaemonError> {
    let tls = match &config.tls {
        Tls::Undecided | Tls::Off => None,
        Tls::On {
            certificate,
            key,
            client_ca,
        } => Some(tls::server_config(certificate, key, client_ca.as_deref())?),
    };
    for host in &config.hosts {
        if matches!(host, Host::Tcp(..)) {
            match &config.tls {
                Tls::On {
                    client_ca: Some(_), ..
                } => {}
                Tls::On { .. } => tracing::warn!(
                    %host,
                    "whoever can connect to this address is root on this machine: TLS without --tlsverify does not ask who it is"
                ),
                Tls::Off | Tls::Undecided => tracing::warn!(
                    %host,
                    "whoever can connect to this address is root on this machine, and whoever is on the way can read and change what is said: it is served without TLS"
                ),
            }
        }
    }
    Ok(Listener::bind_all(&config.hosts, config.group.as_deref(), tls).await?)
}

/// What the daemon is told to do.
enum Request {
    End(&'static str),
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::End("SIGTERM"),
            _ = self.interrupt.recv() => Request::End("SIGINT"),
            _ = self.hang_up.recv() => Request::Reload,
        }
    }
}
