//! The list of containers while many slow operations run: clients that wait for ends, that follow output, that have
//! sent half of an image, that pull from a registry which does not answer.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use anyhow::Result;
use dhow_tests::TestHost;

use super::client::{Client, Sent};
use super::options::Options;
use crate::measure::Samples;
use crate::report::Column;

/// The registry that takes connections and says nothing.
const SILENT: &str = "127.0.0.1:5001";

/// What is held open: dropped, each ends.
#[derive(Default)]
struct Held {
    streams: Vec<UnixStream>,
    sent: Vec<Sent>,
}

pub fn measure(host: &TestHost, options: &Options, column: &mut Column<'_>) -> Result<()> {
    let client = Client::of(host);
    host.sh("seq 1 10 | xargs -P 4 -I N dhow run -d --name sN busybox sleep 100000")
        .ok();
    column.ms("ps of 10", list(&client, options.rounds)?);
    let silent = host.netns.run(|| TcpListener::bind(SILENT))?;
    let mut held = Held::default();
    for n in 0..options.slow {
        begin(&client, n, &mut held)?;
    }
    let name = format!("ps of 10 beside {} slow operations", options.slow);
    column.ms(&name, list(&client, options.rounds)?);
    drop(held);
    drop(silent);
    host.sh("docker ps -aq | xargs docker rm -f").ok();
    Ok(())
}

fn list(client: &Client, rounds: usize) -> Result<f64> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        samples.add_ms(client.request("GET", "/containers/json", "")?.0);
    }
    Ok(samples.median())
}

fn begin(client: &Client, n: usize, held: &mut Held) -> Result<()> {
    let container = format!("/containers/s{}", n % 10 + 1);
    match n % 4 {
        0 => {
            let path = format!("{container}/wait");
            let sent = client.begin("POST", &path, "application/json", 0)?;
            held.streams.push(sent.head()?.0);
        }
        1 => {
            let path = format!("{container}/logs?stdout=1&follow=1");
            let sent = client.begin("GET", &path, "application/json", 0)?;
            held.streams.push(sent.head()?.0);
        }
        2 => {
            let mut sent = client.begin("POST", "/images/load", "application/x-tar", 1 << 20)?;
            sent.send(&[0; 512])?;
            held.sent.push(sent);
        }
        _ => {
            let path = format!("/images/create?fromImage={SILENT}/image{n}&tag=latest");
            held.sent
                .push(client.begin("POST", &path, "application/json", 0)?);
        }
    }
    Ok(())
}
