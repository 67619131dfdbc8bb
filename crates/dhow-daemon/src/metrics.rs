//! Metrics for Prometheus, by the names that Docker's daemon has for them, and the process's own. Nothing is counted
//! where `metrics-addr` is not set; what the engine knows anyway is asked for at each scrape.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dhow_engine::Engine;
use http::{Method, header};
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::error::{ApiError, Result};
use crate::info;

/// All metrics. Clones are the same.
#[derive(Clone)]
pub struct Metrics {
    engine: Engine,
    registry: Registry,
    container_actions: HistogramVec,
    network_actions: HistogramVec,
    image_actions: HistogramVec,
    states: IntGaugeVec,
    events: IntCounter,
    subscribers: IntGauge,
    checks: IntCounter,
    failed_checks: IntCounter,
    process: Process,
}

/// What every Prometheus client says of its process.
#[derive(Clone)]
struct Process {
    cpu: prometheus::Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    threads: IntGauge,
}

type Made<T> = std::result::Result<T, prometheus::Error>;

impl Metrics {
    pub fn new(engine: Engine) -> Made<Metrics> {
        let registry = Registry::new();
        let actions = |name: &str, of: &str| -> Made<HistogramVec> {
            let help = format!("The number of seconds it takes to process each {of} action");
            let metric = HistogramVec::new(HistogramOpts::new(name, help), &["action"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let container_actions = actions("engine_daemon_container_actions_seconds", "container")?;
        for action in ["start", "changes", "commit", "create", "delete"] {
            container_actions.with_label_values(&[action]);
        }
        let states = IntGaugeVec::new(
            Opts::new(
                "engine_daemon_container_states_containers",
                "The count of containers in various states",
            ),
            &["state"],
        )?;
        registry.register(Box::new(states.clone()))?;
        about_the_engine(&engine, &registry)?;
        let counter = |name: &str, help: &str| -> Made<IntCounter> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        Ok(Metrics {
            network_actions: actions("engine_daemon_network_actions_seconds", "network")?,
            image_actions: actions("engine_daemon_image_actions_seconds", "image")?,
            events: counter("engine_daemon_events_total", "The number of events logged")?,
            subscribers: gauge(
                &registry,
                "engine_daemon_events_subscribers_total",
                "The number of current subscribers to events",
            )?,
            checks: counter(
                "engine_daemon_health_checks_total",
                "The total number of health checks",
            )?,
            failed_checks: counter(
                "engine_daemon_health_checks_failed_total",
                "The total number of failed health checks",
            )?,
            process: Process::new(&registry)?,
            container_actions,
            states,
            engine,
            registry,
        })
    }

    /// The routes that Prometheus asks.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(scrape))
            .with_state(self.clone())
    }

    /// Has the time of the API's actions counted, where they succeed.
    pub fn watch(&self, api: Router) -> Router {
        api.route_layer(middleware::from_fn_with_state(self.clone(), timed))
    }

    fn action(&self, method: &Method, path: &str) -> Option<(&HistogramVec, &'static str)> {
        Some(match (method.as_str(), path) {
            ("POST", "/containers/create") => (&self.container_actions, "create"),
            ("POST", "/containers/{id}/start") => (&self.container_actions, "start"),
            ("GET", "/containers/{id}/changes") => (&self.container_actions, "changes"),
            (
                "DELETE",
                "/containers/{id}" | "/containers/json" | "/containers/create"
                | "/containers/prune",
            ) => (&self.container_actions, "delete"),
            ("POST", "/commit") => (&self.container_actions, "commit"),
            ("POST", PULL) => (&self.image_actions, "pull"),
            ("POST", "/images/prune") => (&self.image_actions, "prune"),
            ("DELETE", path) if path.starts_with("/images/") => (&self.image_actions, "delete"),
            ("POST", "/networks/create") => (&self.network_actions, "create"),
            ("DELETE", path) if path.starts_with("/networks/") => (&self.network_actions, "delete"),
            _ => return None,
        })
    }

    /// Takes over what the engine and the kernel count.
    fn update(&self) {
        let info = self.engine.info();
        for (state, count) in [
            ("running", info.running),
            ("paused", info.paused),
            ("stopped", info.stopped),
        ] {
            self.states.with_label_values(&[state]).set(signed(count));
        }
        let (checks, failed) = self.engine.health_checks();
        for (counter, now) in [
            (&self.events, self.engine.events().published()),
            (&self.checks, checks),
            (&self.failed_checks, failed),
        ] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        self.subscribers.set(signed(info.event_listeners));
        self.process.update();
    }
}

/// The action whose answer begins before its work has ended: who does it has it counted.
const PULL: &str = "/images/create";

/// A request's time, for its metric.
#[derive(Clone)]
pub struct Stopwatch {
    histogram: Histogram,
    began: Instant,
}

impl Stopwatch {
    /// Counts an action that has been done.
    pub fn done(&self) {
        self.histogram.observe(self.began.elapsed().as_secs_f64());
    }
}

async fn timed(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let action = path.as_ref().and_then(|path| {
        let (histogram, action) = metrics.action(request.method(), path.as_str())?;
        Some(histogram.with_label_values(&[action]))
    });
    let Some(histogram) = action else {
        return next.run(request).await;
    };
    let stopwatch = Stopwatch {
        histogram,
        began: Instant::now(),
    };
    if path.is_some_and(|path| path.as_str() == PULL) {
        request.extensions_mut().insert(stopwatch);
        return next.run(request).await;
    }
    let response = next.run(request).await;
    if response.status().is_success() {
        stopwatch.done();
    }
    response
}

async fn scrape(State(metrics): State<Metrics>) -> Result<Response> {
    let text = tokio::task::spawn_blocking(move || {
        metrics.update();
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry.gather(), &mut text)?;
        Ok::<_, prometheus::Error>(text)
    });
    let text = text
        .await
        .map_err(|e| ApiError::Internal(e.to_string()))?
        .map_err(|e| ApiError::Internal(e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// What does not change while the daemon runs.
fn about_the_engine(engine: &Engine, registry: &Registry) -> Made<()> {
    let facts = engine.info();
    let version = info::version(false);
    let about = GaugeVec::new(
        Opts::new(
            "engine_daemon_engine_info",
            "The information related to the engine and the OS it is running on",
        ),
        &[
            "version",
            "commit",
            "architecture",
            "graphdriver",
            "kernel",
            "os",
            "os_type",
            "os_version",
            "daemon_id",
        ],
    )?;
    about
        .with_label_values(&[
            version.version.as_str(),
            &version.git_commit,
            std::env::consts::ARCH,
            "overlay2",
            &version.kernel_version,
            &info::os_release("PRETTY_NAME"),
            "linux",
            &info::os_release("VERSION_ID"),
            &facts.id,
        ])
        .set(1.0);
    registry.register(Box::new(about))?;
    let value = |name: &str, help: &str, value: f64| {
        let metric = Gauge::new(name, help)?;
        metric.set(value);
        registry.register(Box::new(metric))
    };
    value(
        "engine_daemon_engine_cpus_cpus",
        "The number of cpus that the host system of the engine has",
        f64::from(facts.cpus),
    )?;
    value(
        "engine_daemon_engine_memory_bytes",
        "The number of bytes of memory that the host system of the engine has",
        facts.memory as f64,
    )
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Made<IntGauge> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Process {
    fn new(registry: &Registry) -> Made<Process> {
        let cpu = prometheus::Counter::new(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        )?;
        registry.register(Box::new(cpu.clone()))?;
        let made = |name, help| gauge(registry, name, help);
        let process = Process {
            cpu,
            open_fds: made("process_open_fds", "Number of open file descriptors.")?,
            max_fds: made(
                "process_max_fds",
                "Maximum number of open file descriptors.",
            )?,
            virtual_memory: made(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
            )?,
            resident_memory: made(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            threads: made("process_threads", "Number of OS threads in the process.")?,
        };
        made(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )?
        .set(started().unwrap_or(0));
        Ok(process)
    }

    fn update(&self) {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        self.max_fds.set(limit.current.map_or(i64::MAX, signed));
        let count = |dir| std::fs::read_dir(dir).map_or(0, |entries| entries.count() as u64);
        self.open_fds.set(signed(count("/proc/self/fd")));
        let Some(fields) = stat() else {
            return;
        };
        // proc_pid_stat(5), counted from the state, which is the third.
        let field = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok());
        let ticks = field(14).unwrap_or(0) + field(15).unwrap_or(0);
        let seconds = ticks as f64 / TICKS;
        self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        self.threads.set(signed(field(20).unwrap_or(0)));
        self.virtual_memory.set(signed(field(23).unwrap_or(0)));
        let pages = field(24).unwrap_or(0);
        let page = rustix::param::page_size() as u64;
        self.resident_memory.set(signed(pages * page));
    }
}

/// `USER_HZ`, which the kernel's interface fixes.
const TICKS: f64 = 100.0;

/// The fields of /proc/self/stat that follow the command's name.
fn stat() -> Option<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// When the process began, in seconds since the epoch.
fn started() -> Option<i64> {
    let ticks: f64 = stat()?.get(22 - 3)?.parse().ok()?;
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some((boot + ticks / TICKS) as i64)
}
