//! Requests with small answers, one after another: the median of each.

use anyhow::{Context, Result};
use dhow_tests::TestHost;
use serde_json::Value;

use super::client::Client;
use super::floor;
use super::options::Options;
use crate::measure::{Samples, time};
use crate::report::Column;

/// How many clients ask for statistics at once.
const CLIENTS: usize = 8;

pub fn measure(host: &TestHost, options: &Options, column: &mut Column<'_>) -> Result<()> {
    let client = Client::of(host);
    let many = run_many(host, options.containers);
    let rounds = options.rounds;

    let list = median(rounds, || client.request("GET", "/containers/json", ""))?;
    column.ms("ps", list.0);
    column.floor("ps", floor::answer(host.dir(), list.1, rounds)?);

    let inspect = median(rounds, || client.request("GET", "/containers/c1/json", ""))?;
    column.ms("inspect", inspect.0);
    column.floor("inspect", floor::answer(host.dir(), inspect.1, rounds)?);

    create(&client, rounds, column)?;
    exec(&client, rounds, column)?;
    stats(&client, &many, column)?;
    host.sh("docker ps -aq | xargs docker rm -f").ok();
    Ok(())
}

/// Starts so many, and gives their names.
fn run_many(host: &TestHost, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count.max(2)).map(|n| format!("c{n}")).collect();
    host.sh(&format!(
        "seq 0 {} | xargs -P 4 -I N dhow run -d --name cN busybox sleep 100000 > /dev/null",
        names.len() - 1
    ))
    .ok();
    names
}

/// The median of so many, and the length of the last answer.
fn median(
    rounds: usize,
    mut request: impl FnMut() -> Result<(f64, Vec<u8>)>,
) -> Result<(f64, usize)> {
    let mut samples = Samples::default();
    let mut length = 0;
    for _ in 0..rounds {
        let (ms, body) = request()?;
        samples.add_ms(ms);
        length = body.len();
    }
    Ok((samples.median(), length))
}

fn id(answer: &[u8]) -> Result<String> {
    let answer: Value = serde_json::from_slice(answer)?;
    let id = answer["Id"].as_str().context("an answer without an id")?;
    Ok(id.to_owned())
}

fn create(client: &Client, rounds: usize, column: &mut Column<'_>) -> Result<()> {
    let mut made = Vec::new();
    let (ms, _) = median(rounds, || {
        let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
        let answer = client.request("POST", "/containers/create", body)?;
        made.push(id(&answer.1)?);
        Ok(answer)
    })?;
    column.ms("create", ms);
    for id in made {
        client.request("DELETE", &format!("/containers/{id}"), "")?;
    }
    Ok(())
}

fn exec(client: &Client, rounds: usize, column: &mut Column<'_>) -> Result<()> {
    let (ms, _) = median(rounds, || {
        let body = r#"{"AttachStdout":true,"AttachStderr":true,"Cmd":["true"]}"#;
        let (first, answer) = client.request("POST", "/containers/c1/exec", body)?;
        let path = format!("/exec/{}/start", id(&answer)?);
        let (second, answer) = client.request("POST", &path, r#"{"Detach":false,"Tty":false}"#)?;
        Ok((first + second, answer))
    })?;
    column.ms("exec true", ms);
    Ok(())
}

/// A sample of each container, by a few clients at once.
fn stats(client: &Client, names: &[String], column: &mut Column<'_>) -> Result<()> {
    let mut samples = Samples::default();
    for _ in 0..5 {
        let (elapsed, done) = time(|| {
            std::thread::scope(|scope| {
                let of = |first: usize| {
                    scope.spawn(move || -> Result<()> {
                        for name in names.iter().skip(first).step_by(CLIENTS) {
                            let path =
                                format!("/containers/{name}/stats?stream=false&one-shot=true");
                            client.request("GET", &path, "")?;
                        }
                        Ok(())
                    })
                };
                let all: Vec<_> = (0..CLIENTS).map(of).collect();
                all.into_iter()
                    .try_for_each(|one| one.join().expect("it does not panic"))
            })
        });
        done?;
        samples.add(elapsed);
    }
    column.ms("stats of all, one round", samples.median());
    Ok(())
}
