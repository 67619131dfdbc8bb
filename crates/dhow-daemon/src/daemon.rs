//! The daemon from its command line to its end.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dhow_engine::{DnsConfig, Engine, EngineConfig, EngineError, LogDefaults};
use dhow_net::{AddressPool, Ipv4Net, NetConfig};
use dhow_runtime::{Spawner, SpawnerProcess};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigError, Tls};
use crate::hello;
use crate::info;
use crate::listen::{Host, ListenError, Listener};
use crate::logging::{self, LevelHandle};
use crate::notify;
use crate::pidfile::{Pidfile, PidfileError};
use crate::routes::{self, AppState};
use crate::server::Server;
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
pub fn main<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = OsString>,
{
    let (config, validate) = match Config::load(arguments) {
        Ok(loaded) => loaded,
        Err(ConfigError::Usage(e)) => {
            // Help and version are printed this way, too. Nothing more can be done if that fails.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 1 } else { 0 });
        }
        Err(e) => return fail(&e.into()),
    };
    if validate {
        println!("configuration OK");
        return ExitCode::SUCCESS;
    }
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(error: &DaemonError) -> ExitCode {
    eprintln!("failed to start daemon: {error}");
    ExitCode::FAILURE
}

fn start(config: Config) -> Result<(), DaemonError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    // As dockerd: what is made in containers and volumes must not depend on who started the daemon.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // While there is one thread, and before the heap has grown.
    let spawner = dhow_runtime::fork_spawner().map_err(system("forking the spawner"))?;
    let level = logging::start(config.log_level, config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(STACK)
        .thread_name("worker")
        .enable_all()
        .build()
        .map_err(system("starting the runtime"))?;
    let ended = runtime.block_on(run(config, spawner, &level));
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
    spawner: SpawnerProcess,
    level: &LevelHandle,
) -> Result<(), DaemonError> {
    // First, so that no signal is lost.
    let mut signals = Signals::new().map_err(system("handling signals"))?;
    let spawner = spawner
        .into_handle_with(spawner_command)
        .map_err(system("reaching the spawner"))?;
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let listeners = listen(&config).await?;
    let engine = open_engine(&config, spawner).await?;

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let config = Arc::new(config);
    let state = AppState {
        engine: engine.clone(),
        distribution: engine.distribution().clone(),
        config: config.clone(),
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let server = Server::new(routes::router(state), stop.clone());
    let mut accepting = tokio::task::JoinSet::new();
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
            Request::Reload => reload(&config, level),
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
    let patience = Duration::from_secs(config.shutdown_timeout);
    tokio::select! {
        () = in_progress => tracing::info!("ended"),
        () = tokio::time::sleep(patience) => {
            tracing::warn!(seconds = config.shutdown_timeout, "requests are still in progress; ending without them");
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

async fn open_engine(config: &Config, spawner: Spawner) -> Result<Engine, DaemonError> {
    let engine_config = EngineConfig {
        net: net_config(config)?,
        dns: DnsConfig {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_opts.clone(),
        },
        log: LogDefaults {
            driver: config.log_driver.clone(),
            options: config.log_opts.clone(),
        },
        ulimits: config.default_ulimits.clone(),
        distribution: dhow_distribution::Config {
            mirrors: config.registry_mirrors.clone(),
            insecure_registries: config.insecure_registries.clone(),
            embedded: Some(hello::embedded()),
            user_agent: format!("dhow/{} (linux; {})", info::VERSION, std::env::consts::ARCH),
            max_concurrent_downloads: config.max_concurrent_downloads,
            max_concurrent_uploads: config.max_concurrent_uploads,
            ..dhow_distribution::Config::default()
        },
        labels: config.labels.clone(),
        debug: config.debug,
        ..EngineConfig::new(&config.data_root, &config.exec_root)
    };
    let (engine, report) = Engine::open(engine_config, spawner).await?;
    tracing::info!(
        version = info::VERSION,
        data_root = %config.data_root.display(),
        containers = report.containers,
        reconnected = report.reconnected,
        ended = report.ended,
        lost = report.lost,
        unstarted = report.unstarted,
        removed = report.removed,
        trashed = report.trashed,
        "engine open"
    );
    Ok(engine)
}

fn net_config(config: &Config) -> Result<NetConfig, DaemonError> {
    let defaults = NetConfig::default();
    let invalid = |key: &str, value: &str, expected: &str| {
        DaemonError::Config(ConfigError::Invalid(format!(
            "invalid {key} {value:?}: expected {expected}"
        )))
    };
    let subnet = |key: &str, value: &Option<String>| match value {
        None => Ok(None),
        Some(text) => text.parse::<Ipv4Net>().map(Some).map_err(|_| {
            invalid(
                key,
                text,
                "an IPv4 address with its prefix length, such as 172.17.0.1/16",
            )
        }),
    };
    let bridge = config
        .bridge
        .clone()
        .unwrap_or_else(|| defaults.bridge.clone());
    if bridge.is_empty() || bridge == "none" || bridge.len() > 15 {
        return Err(invalid(
            "bridge",
            &bridge,
            "the name of a network link, of at most 15 characters",
        ));
    }
    let pools = config
        .default_address_pools
        .iter()
        .map(|pool| match pool.base.parse::<Ipv4Net>() {
            Ok(base) if pool.size >= base.prefix_len() && pool.size <= 30 => Ok(AddressPool {
                base,
                size: pool.size,
            }),
            _ => Err(invalid(
                "default-address-pools",
                &format!("{} of size {}", pool.base, pool.size),
                "an IPv4 network, and a longer prefix of at most 30 as the size",
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let publish_ip = match config.ip {
        None => defaults.publish_ip,
        Some(IpAddr::V4(ip)) => ip,
        Some(ip) => return Err(invalid("ip", &ip.to_string(), "an IPv4 address")),
    };
    Ok(NetConfig {
        // Daemons with bridges of their own can share a network namespace.
        table: if bridge == defaults.bridge {
            defaults.table
        } else {
            format!("{}_{bridge}", defaults.table)
        },
        bridge,
        bridge_ip: subnet("bip", &config.bip)?,
        fixed_cidr: subnet("fixed-cidr", &config.fixed_cidr)?,
        pools: if pools.is_empty() {
            defaults.pools
        } else {
            pools
        },
        // Docker takes zero as the default.
        mtu: config.mtu.filter(|mtu| *mtu > 0).unwrap_or(defaults.mtu),
        ip_forward: config.ip_forward,
        masquerade: config.ip_masq,
        icc: config.icc,
        publish_ip,
        ..NetConfig::default()
    })
}

/// Reads the file again for what can change while the daemon runs: the level of the log.
fn reload(config: &Config, level: &LevelHandle) {
    let Some(path) = &config.file else {
        tracing::info!("there is no configuration file to read again");
        return;
    };
    let arguments = ["--config-file".into(), path.clone().into_os_string()];
    match Config::load(arguments) {
        Ok((new, _)) => {
            level.set(new.log_level);
            tracing::info!(path = %path.display(), level = ?new.log_level, "configuration read again");
        }
        Err(e) => tracing::error!("configuration not changed: {e}"),
    }
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
