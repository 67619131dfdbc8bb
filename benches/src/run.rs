//! `run --rm busybox true` on the default bridge: the whole command, and the daemon's part of it by phase.

use std::process::Command;

use anyhow::{Context, Result};
use dhow_tests::{Engine, TestHost};

use crate::hosts::{ENGINES, name, start};
use crate::measure::{Samples, Table, commands, ms, ratio, request};
use crate::programs::beside;
use crate::report::Report;

pub fn bench(count: usize) -> Result<()> {
    let hosts: Vec<TestHost> = ENGINES.into_iter().map(start).collect();
    let mut runs: Vec<(String, Samples)> = Vec::new();
    for host in &hosts {
        for client in ["docker", "dhow"] {
            for network in ["bridge", "none"] {
                let words = [
                    client,
                    "run",
                    "--rm",
                    "--network",
                    network,
                    "busybox",
                    "true",
                ];
                runs.push((
                    format!("{} ({client} client), {network}", name(host.engine)),
                    commands(host, &words, count)?,
                ));
            }
        }
    }
    let floor = floor(count)?;
    let floor_ms = floor
        .iter()
        .find(|(phase, _)| phase == "all")
        .map_or(f64::NAN, |(_, s)| s.median());

    println!("run --rm busybox true, {count} times, milliseconds");
    let peer = runs
        .first()
        .map_or(f64::NAN, |(_, samples)| samples.median());
    let mut table = Table::new(&["", "median", "p95", "of the peer's"]);
    for (what, samples) in &runs {
        table.row([
            what.clone(),
            ms(samples.median()),
            ms(samples.p95()),
            ratio(samples.median(), peer),
        ]);
    }
    table.row([
        "floor, bridge".to_owned(),
        ms(floor_ms),
        String::new(),
        ratio(floor_ms, peer),
    ]);
    table.print();

    println!("by request, as the daemon answers them, milliseconds (median)");
    let mut report = Report::default();
    for host in &hosts {
        let mut column = report.column(host.engine);
        for (phase, samples) in requests(host, count)? {
            column.ms(phase, samples.median());
        }
    }
    report.print();

    println!("the floor, by phase, milliseconds (median)");
    let mut table = Table::new(&["", "median", "p95"]);
    for (phase, samples) in &floor {
        table.row([phase.clone(), ms(samples.median()), ms(samples.p95())]);
    }
    table.print();
    if let Some(ours) = hosts.iter().find(|host| host.engine == Engine::Dhow) {
        phases_of_daemon(ours);
    }
    Ok(())
}

/// What a client of `run` asks for, one after another.
fn requests(host: &TestHost, count: usize) -> Result<[(&'static str, Samples); 5]> {
    let mut phases =
        ["create", "start", "wait", "remove", "all"].map(|phase| (phase, Samples::default()));
    for _ in 0..count {
        let (create, body) = request(
            host,
            "POST",
            "/containers/create",
            Some(r#"{"Image":"busybox","Cmd":["true"]}"#),
        )?;
        let created: serde_json::Value = serde_json::from_str(&body)?;
        let id = created["Id"]
            .as_str()
            .context("a created container has an id")?;
        let (start, _) = request(host, "POST", &format!("/containers/{id}/start"), None)?;
        let (wait, _) = request(host, "POST", &format!("/containers/{id}/wait"), None)?;
        let (remove, _) = request(host, "DELETE", &format!("/containers/{id}"), None)?;
        let all = create + start + wait + remove;
        for ((_, samples), ms) in phases.iter_mut().zip([create, start, wait, remove, all]) {
            samples.add_ms(ms);
        }
    }
    Ok(phases)
}

/// Where the daemon writes how long each phase of a start took, it is shown as well.
fn phases_of_daemon(host: &TestHost) {
    let log = host.daemon_log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("start phases"))
        .collect();
    if let Some(last) = lines.last() {
        println!("the daemon's own account of the last start:\n{last}");
    }
}

/// Runs the floor program; it prints a line `PHASE MICROSECONDS` for each phase of each round.
fn floor(count: usize) -> Result<Vec<(String, Samples)>> {
    let output = Command::new(beside("dhow-floor")?)
        .arg(count.to_string())
        .output()
        .context("can't run the floor program")?;
    if !output.status.success() {
        anyhow::bail!(
            "the floor program failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut phases: Vec<(String, Samples)> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (phase, us) = line.rsplit_once(' ').context("a phase and a time")?;
        let ms = us.parse::<f64>()? / 1e3;
        match phases.iter_mut().find(|(known, _)| known == phase) {
            Some((_, samples)) => samples.add_ms(ms),
            None => {
                let mut samples = Samples::default();
                samples.add_ms(ms);
                phases.push((phase.to_owned(), samples));
            }
        }
    }
    Ok(phases)
}
