//! `stats`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use dhow_api::{Filters, Stats};

use crate::error::Result;
use crate::flags::{Args, Flag, Kind};
use crate::format::table::{Listing, Row};
use crate::format::{text, units};
use crate::lists::FORMAT;
use crate::session::Session;
use crate::{stdio, terminal};

pub const STATS: &[Flag] = &[
    Flag::new("all", Kind::Bool, "Show containers that do not run, too").short('a'),
    FORMAT,
    Flag::new("no-stream", Kind::Bool, "Show the figures of now, and end"),
    Flag::new("no-trunc", Kind::Bool, "Do not cut long cells"),
];

const LISTING: Listing = Listing {
    columns: &[
        ("ID", "CONTAINER ID"),
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    default: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

const REFRESH: Duration = Duration::from_millis(500);

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let asked = LISTING.pick(
        args.text("format"),
        session.config.text("statsFormat"),
        false,
    );
    let cut = !args.is_set("no-trunc");
    let client = session.client().await?;
    let names: Vec<String> = match args.rest.is_empty() {
        false => args.rest.clone(),
        true => client
            .container_list(args.is_set("all"), 0, false, &Filters::default())
            .await?
            .into_iter()
            .map(|container| container.id)
            .collect(),
    };
    if args.is_set("no-stream") {
        let mut rows = Vec::new();
        for name in &names {
            let mut stream = client.container_stats(name, false).await?;
            if let Some(stats) = stream.next().await? {
                rows.push(row(name, &stats, cut));
            }
        }
        return Ok(stdio::print(&LISTING.render(asked, &rows)?)?);
    }
    // The newest figures of each, in the order they were asked for.
    let newest: Mutex<BTreeMap<usize, Row>> = Mutex::new(BTreeMap::new());
    let streams = names.iter().enumerate().map(|(at, name)| {
        let newest = &newest;
        async move {
            let mut stream = client.container_stats(name, true).await?;
            while let Some(stats) = stream.next().await? {
                if let Ok(mut rows) = newest.lock() {
                    rows.insert(at, row(name, &stats, cut));
                }
            }
            Result::Ok(())
        }
    });
    let watching = futures_util::future::try_join_all(streams);
    let drawing = async {
        loop {
            tokio::time::sleep(REFRESH).await;
            let rows: Vec<Row> = match newest.lock() {
                Ok(rows) => rows.values().cloned().collect(),
                Err(_) => Vec::new(),
            };
            let mut out = String::new();
            if terminal::stdout_is_terminal() {
                // Home, and what is left of the last drawing goes.
                let _ = write!(out, "\x1b[H\x1b[J");
            }
            out += &LISTING.render(asked, &rows)?;
            stdio::print(&out)?;
        }
    };
    tokio::select! {
        ended = watching => ended.map(drop),
        failed = drawing => failed,
    }
}

fn row(name: &str, stats: &Stats, cut: bool) -> Row {
    let id = if stats.id.is_empty() { name } else { &stats.id };
    let used = memory(stats);
    let limit = stats.memory_stats.limit;
    let share = match limit {
        0 => 0.0,
        limit => used as f64 / limit as f64 * 100.0,
    };
    let received: u64 = stats.networks.values().map(|n| n.rx_bytes).sum();
    let sent: u64 = stats.networks.values().map(|n| n.tx_bytes).sum();
    let moved = |operation: &str| -> u64 {
        let entries = stats
            .blkio_stats
            .io_service_bytes_recursive
            .iter()
            .flatten();
        entries
            .filter(|entry| entry.op.eq_ignore_ascii_case(operation))
            .map(|entry| entry.value)
            .sum()
    };
    let size = |n: u64| units::size(i64::try_from(n).unwrap_or(i64::MAX));
    Row::from([
        (
            "ID",
            if cut {
                text::short_id(id).to_owned()
            } else {
                id.to_owned()
            },
        ),
        ("Container", name.to_owned()),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("CPUPerc", format!("{:.2}%", cpu(stats))),
        (
            "MemUsage",
            format!(
                "{} / {}",
                units::binary_size(used as f64),
                units::binary_size(limit as f64)
            ),
        ),
        ("MemPerc", format!("{share:.2}%")),
        ("NetIO", format!("{} / {}", size(received), size(sent))),
        (
            "BlockIO",
            format!("{} / {}", size(moved("read")), size(moved("write"))),
        ),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}

/// Without the page cache, which is given back when it is needed.
fn memory(stats: &Stats) -> u64 {
    let usage = stats.memory_stats.usage;
    ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|name| stats.memory_stats.stats.get(*name))
        .filter(|cache| **cache < usage)
        .map_or(usage, |cache| usage - cache)
}

fn cpu(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let system = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let cpus = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        n => f64::from(n),
    };
    match own > 0.0 && system > 0.0 {
        true => own / system * cpus * 100.0,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_time_between_two_samples() {
        let stats: Stats = serde_json::from_str(
            r#"{"id":"0123456789abcdef","name":"/web","cpu_stats":{"cpu_usage":{"total_usage":300},"system_cpu_usage":2000,"online_cpus":2},
            "precpu_stats":{"cpu_usage":{"total_usage":100},"system_cpu_usage":1000},
            "memory_stats":{"usage":3145728,"limit":10485760,"stats":{"inactive_file":1048576}},
            "networks":{"eth0":{"rx_bytes":1000,"tx_bytes":2}},"pids_stats":{"current":3},
            "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":5}]}}"#,
        )
        .unwrap();
        let row = row("web", &stats, true);
        assert_eq!(row["CPUPerc"], "40.00%");
        assert_eq!(row["MemUsage"], "2MiB / 10MiB");
        assert_eq!(row["MemPerc"], "20.00%");
        assert_eq!(row["NetIO"], "1kB / 2B");
        assert_eq!(row["BlockIO"], "5B / 0B");
        assert_eq!((row["Name"].as_str(), row["PIDs"].as_str()), ("web", "3"));
    }
}
