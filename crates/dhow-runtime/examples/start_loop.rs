//! Starts containers of busybox `true` one after another, or several at once, and tells how long each phase
//! took: `start_loop [count] [at once]`. Needs root and /bin/busybox.

#[path = "../tests/containers/host.rs"]
#[allow(dead_code)]
mod host;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::Host;

fn main() {
    let spawner = dhow_runtime::fork_spawner().expect("fork the spawner");
    let number = |at: usize, default: u64| {
        std::env::args()
            .nth(at)
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (count, at_once) = (number(1, 200), number(2, 1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let host = Arc::new(Host::new(
            spawner.into_handle().expect("the spawner's handle"),
        ));
        let begin = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let host = host.clone();
            workers.spawn(async move { starts(&host, count / at_once).await });
        }
        let all: Vec<Sample> = workers.join_all().await.into_iter().flatten().collect();
        let total = begin.elapsed();
        report(&all, total);
        memory(&host).await;
    });
}

/// What a running container's shim has to itself.
async fn memory(host: &Host) {
    let running = host
        .container(&["sleep", "1000"])
        .start()
        .await
        .expect("start");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.started.pid))
        .expect("the container's status");
    let shim = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .expect("a parent");
    let rollup =
        std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).expect("the shim's memory");
    for line in rollup.lines().filter(|line| {
        ["Rss", "Pss:", "Private_"]
            .iter()
            .any(|name| line.starts_with(name))
    }) {
        println!("shim {line}");
    }
    let command = std::fs::read(format!("/proc/{shim}/cmdline")).expect("the shim's command line");
    println!("shim {}", String::from_utf8_lossy(&command));
    running
        .shim
        .signal(dhow_runtime::Target::Init, 9)
        .await
        .expect("kill");
    running.exit().await;
    running.shim.release().await.expect("release");
}

struct Sample {
    phases: Vec<(String, u64)>,
    started: Duration,
    exited: Duration,
    released: Duration,
}

async fn starts(host: &Host, count: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for _ in 0..count {
        let mut container = host.container(&["true"]);
        let capabilities = host::CAPABILITIES.into_iter().collect();
        container
            .linux()
            .set_seccomp(Some(dhow_runtime::seccomp::default_profile(&capabilities)));
        if std::env::var_os("NET").is_none() {
            container
                .linux()
                .namespaces_mut()
                .as_mut()
                .expect("namespaces")
                .retain(|namespace| {
                    namespace.typ() != oci_spec::runtime::LinuxNamespaceType::Network
                });
        }
        let begin = Instant::now();
        let running = container.start_traced().await.expect("start");
        let started = begin.elapsed();
        let record = running.exit().await;
        let exited = begin.elapsed();
        assert_eq!(record.code, 0);
        running.shim.release().await.expect("release");
        samples.push(Sample {
            phases: running.started.phases,
            started,
            exited,
            released: begin.elapsed(),
        });
    }
    samples
}

fn report(samples: &[Sample], total: Duration) {
    let mut phases: BTreeMap<usize, (String, Vec<u64>)> = BTreeMap::new();
    for sample in samples {
        for (at, (name, taken)) in sample.phases.iter().enumerate() {
            phases
                .entry(at)
                .or_insert_with(|| (name.clone(), Vec::new()))
                .1
                .push(*taken);
        }
    }
    let median = |values: &mut Vec<u64>| {
        values.sort_unstable();
        values[values.len() / 2] as f64 / 1e6
    };
    for (name, taken) in phases.values_mut() {
        println!("{name:<28} {:7.3} ms", median(taken));
    }
    let of = |what: fn(&Sample) -> Duration| {
        median(
            &mut samples
                .iter()
                .map(|sample| what(sample).as_nanos() as u64)
                .collect(),
        )
    };
    println!("{:<28} {:7.3} ms", "request to exec", of(|s| s.started));
    println!("{:<28} {:7.3} ms", "request to exit seen", of(|s| s.exited));
    println!(
        "{:<28} {:7.3} ms",
        "request to released",
        of(|s| s.released)
    );
    println!("{:.0} a second", samples.len() as f64 / total.as_secs_f64());
}
