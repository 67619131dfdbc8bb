//! Networks of one's own: what they cost to make, a start on one, joining another, a stack of services by Compose, and many
//! containers on one network that find each other by name.

mod bare;
mod elsewhere;
mod load;
mod options;
mod pools;
mod ports;
mod traffic;

use anyhow::{Result, ensure};
use dhow_tests::engine::peer;
use dhow_tests::{Engine, Random, TestHost, eventually};

use crate::clients::{CLIENTS, remove_all, share};
use crate::hosts::{ENGINES, start};
use crate::measure::{Samples, command, commands, request};
use crate::report::{Column, Report};
use options::Options;

/// Networks that are made and removed again.
const NETWORKS: usize = 100;
/// Whom each of some containers on the full network asks.
const ASKED: usize = 10;

pub fn bench(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(words)?;
    if options.wants("stack") {
        stack(options.containers)?;
    }
    if options.wants("traffic") {
        traffic::bench()?;
    }
    if options.wants("networks") {
        pools::bench()?;
    }
    if options.wants("ports") {
        ports::bench()?;
    }
    Ok(())
}

/// `count` containers are on the full network.
fn stack(count: usize) -> Result<()> {
    println!(
        "{NETWORKS} networks; a stack of ten services; {count} containers on one network by {CLIENTS} clients (dhow); milliseconds"
    );
    let mut report = Report::default();
    for engine in ENGINES {
        let host = start(engine);
        let mut column = report.column(engine);
        runs(&host, &mut column)?;
        networks(&host, &mut column)?;
        joining(&host, &mut column)?;
        compose(&host, &mut column)?;
        many(&host, count, &mut column)?;
    }
    report.print();
    Ok(())
}

fn runs(host: &TestHost, column: &mut Column) -> Result<()> {
    host.sh("docker network create own").ok();
    for network in ["bridge", "own"] {
        let words = [
            "dhow",
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "true",
        ];
        let samples = commands(host, &words, 40)?;
        column.ms(&format!("run --rm on {network}"), samples.median());
    }
    host.sh("docker network rm own").ok();
    Ok(())
}

fn networks(host: &TestHost, column: &mut Column) -> Result<()> {
    let many = match host.engine {
        Engine::Dhow => NETWORKS,
        // Its pools have no more.
        Engine::Dockerd => 25,
    };
    let (mut made, mut removed) = (Samples::default(), Samples::default());
    for number in 0..many {
        let body = format!(r#"{{"Name":"n{number}"}}"#);
        made.add_ms(request(host, "POST", "/networks/create", Some(&body))?.0);
    }
    for number in 0..many {
        removed.add_ms(request(host, "DELETE", &format!("/networks/n{number}"), None)?.0);
    }
    column.ms("network create", made.median());
    column.ms("network rm", removed.median());
    Ok(())
}

fn joining(host: &TestHost, column: &mut Column) -> Result<()> {
    host.sh("docker network create own && docker run -d --name box busybox sleep 100000")
        .ok();
    let (mut joined, mut left) = (Samples::default(), Samples::default());
    let body = Some(r#"{"Container":"box"}"#);
    for _ in 0..40 {
        joined.add_ms(request(host, "POST", "/networks/own/connect", body)?.0);
        left.add_ms(request(host, "POST", "/networks/own/disconnect", body)?.0);
    }
    host.sh("docker rm -f box && docker network rm own").ok();
    column.ms("connect, while it runs", joined.median());
    column.ms("disconnect", left.median());
    Ok(())
}

fn compose(host: &TestHost, column: &mut Column) -> Result<()> {
    let mut stack = String::from("name: stack\nservices:\n");
    for number in 0..10 {
        stack += &format!(
            "  s{number}: {{ image: busybox, command: sleep 100000, stop_signal: SIGKILL }}\n"
        );
    }
    std::fs::write(host.path("compose.yaml"), stack)?;
    let compose = peer("docker-compose").display().to_string();
    let mut rounds = [(); 3].map(|()| Samples::default());
    for _ in 0..3 {
        for (samples, words) in rounds.iter_mut().zip([
            &["up", "-d", "--quiet-pull"][..],
            &["up", "-d"],
            &["down", "-t", "0"],
        ]) {
            let mut line = vec![compose.as_str()];
            line.extend(words);
            samples.add(command(host, &line)?);
        }
    }
    for (what, samples) in ["up", "up, with nothing to do", "down"].iter().zip(rounds) {
        column.ms(&format!("compose {what}"), samples.median());
    }
    Ok(())
}

/// All of them started at once, then asking for each other.
fn many(host: &TestHost, count: usize, column: &mut Column) -> Result<()> {
    host.sh("docker network create full").ok();
    let starting = share(count, |number| {
        let name = format!("c{number}");
        let words = [
            "dhow",
            "run",
            "-d",
            "--network",
            "full",
            "--name",
            &name,
            "busybox",
            "sleep",
            "100000",
        ];
        command(host, &words).expect("a container starts");
    });
    column.ms(
        &format!("each of {count} starts on one network"),
        starting.as_secs_f64() * 1e3 / count as f64,
    );
    let mut random = Random::seeded();
    let (mut reached, mut asked) = (0, 0);
    let mut looking = Samples::default();
    for _ in 0..ASKED {
        let from = random.below(count as u64);
        let targets: Vec<String> = (0..ASKED)
            .map(|_| format!("c{}", random.below(count as u64)))
            .collect();
        asked += targets.len();
        for target in &targets {
            let from = format!("c{from}");
            let words = ["dhow", "exec", &from, "ping", "-c", "1", "-W", "5", target];
            looking.add(command(host, &words)?);
            reached += 1;
        }
    }
    ensure!(reached == asked, "{reached} of {asked} were reached");
    column.ms("exec: ping another by name", looking.median());
    remove_all(host);
    eventually("the network is free", || {
        (host.sh("docker network rm full").code == 0).then_some(())
    });
    Ok(())
}
