//! A daemon at rest: its memory, its descriptors, and how often it wakes up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::Result;
use dhow_tests::{TestHost, footprint};

use crate::hosts::{ENGINES, name, start};
use crate::measure::Table;

pub fn bench(seconds: usize) -> Result<()> {
    println!("at rest for {seconds} s, all processes of the daemon but the registry");
    let mut table = Table::new(&[
        "",
        "containers",
        "processes",
        "RSS, MiB",
        "PSS, MiB",
        "descriptors",
        "wake-ups",
    ]);
    for engine in ENGINES {
        let host = start(engine);
        for containers in [0, 1] {
            if containers == 1 {
                host.sh("docker run -d busybox sleep 100000").ok();
            }
            std::thread::sleep(Duration::from_secs(3));
            let before = switches(&host);
            std::thread::sleep(Duration::from_secs(seconds as u64));
            let after = switches(&host);
            let pids = pids(&host);
            table.row([
                name(engine).to_owned(),
                containers.to_string(),
                pids.len().to_string(),
                format!("{:.1}", sum(&pids, "Rss:") / 1024.0),
                format!("{:.1}", sum(&pids, "Pss:") / 1024.0),
                pids.iter()
                    .map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count))
                    .sum::<usize>()
                    .to_string(),
                woken(&before, &after).to_string(),
            ]);
        }
    }
    table.print();
    Ok(())
}

/// The daemon's processes: with its helpers, without what runs in containers and without the registry.
fn pids(host: &TestHost) -> Vec<i32> {
    footprint::pids(&host.netns, host.dir(), &BTreeSet::new())
        .into_iter()
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            !command.contains("registry serve") && !command.starts_with("sleep")
        })
        .collect()
}

/// Voluntary context switches by thread: each is a sleep that something ended.
fn switches(host: &TestHost) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for pid in pids(host) {
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let count = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
                .and_then(|n| n.trim().parse::<u64>().ok());
            let thread = task.file_name().to_string_lossy().into_owned();
            all.insert(thread, count.unwrap_or(0));
        }
    }
    all
}

/// How often the threads that are there at the end woke up in between.
fn woken(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> u64 {
    after
        .iter()
        .map(|(thread, count)| count - before.get(thread).unwrap_or(&0))
        .sum()
}

fn sum(pids: &[i32], field: &str) -> f64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|rollup| {
            let line = rollup
                .lines()
                .find_map(|line| line.strip_prefix(field).map(str::to_owned))?;
            line.trim()
                .trim_end_matches(" kB")
                .trim()
                .parse::<f64>()
                .ok()
        })
        .sum()
}
