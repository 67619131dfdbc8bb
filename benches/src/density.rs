//! Many containers at once: how fast they come by eight clients, what each takes, and what a list of them costs.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use dhow_tests::{TestHost, footprint};

use crate::clients::{CLIENTS, remove_all, share};
use crate::hosts::{ENGINES, name, start};
use crate::measure::{Samples, Table, command, ms, request};

pub fn bench(count: usize) -> Result<()> {
    println!("{count} containers (sleep, default bridge) by {CLIENTS} clients (dhow)");
    let mut table = Table::new(&[
        "",
        "starts/s",
        "MB each",
        "PSS each",
        "kernel each",
        "ps, ms (API)",
        "ps, ms (dhow)",
        "removals/s",
    ]);
    for engine in ENGINES {
        let host = start(engine);
        // What is set up once isn't counted for each.
        host.sh("dhow run --rm busybox true").ok();
        let before = settle()?;
        let pss_before = pss(&host);
        let starting = share(count, |i| {
            let name = format!("c{i}");
            let words = [
                "dhow", "run", "-d", "--name", &name, "busybox", "sleep", "100000",
            ];
            command(&host, &words).expect("a container starts");
        });
        let after = settle()?;
        let pss_after = pss(&host);
        let each = (before - after) / count as f64;
        let pss_each = (pss_after - pss_before) / count as f64;

        let (mut api, mut table_of) = (Samples::default(), Samples::default());
        for _ in 0..20 {
            api.add_ms(request(&host, "GET", "/containers/json", None)?.0);
            table_of.add(command(&host, &["dhow", "ps"])?);
        }
        assert_eq!(host.sh("dhow ps").ok().lines().count(), count + 1);
        let removing = remove_all(&host);
        table.row([
            name(engine).to_owned(),
            format!("{:.1}", count as f64 / starting.as_secs_f64()),
            format!("{each:.2}"),
            format!("{pss_each:.2}"),
            format!("{:.2}", each - pss_each),
            ms(api.median()),
            ms(table_of.median()),
            format!("{:.1}", count as f64 / removing.as_secs_f64()),
        ]);
    }
    table.print();
    Ok(())
}

/// The machine's available memory in MB (10^6 bytes) when it has stopped changing much.
fn settle() -> Result<f64> {
    let mut last = available()?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(500));
        let now = available()?;
        if (now - last).abs() < 2.0 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

fn available() -> Result<f64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .context("no MemAvailable in /proc/meminfo")?;
    Ok(kib(line) / 1e3 * 1.024)
}

/// The proportional set size of all processes of the host in MB.
fn pss(host: &TestHost) -> f64 {
    let ids: BTreeSet<String> = host
        .sh("docker ps -q --no-trunc")
        .ok()
        .lines()
        .map(str::to_owned)
        .collect();
    footprint::pids(&host.netns, host.dir(), &ids)
        .into_iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|rollup| {
            rollup
                .lines()
                .find_map(|line| line.strip_prefix("Pss:").map(kib))
        })
        .sum::<f64>()
        / 1e3
        * 1.024
}

fn kib(text: &str) -> f64 {
    text.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap_or(0.0)
}
