//! Many who watch events: how long until each has been told of all of a burst.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dhow_tests::TestHost;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::Client;
use super::memory;
use super::options::Options;
use crate::report::Column;

/// How many events there are in a burst, each of which goes to everyone.
const BURST: usize = 100;
/// No burst takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn measure(host: &TestHost, options: &Options, column: &mut Column<'_>) -> Result<()> {
    let client = Client::of(host);
    host.sh("dhow run -d --name watched busybox sleep 100000")
        .ok();
    memory::forget(host);
    let mut watching = Vec::new();
    for _ in 0..options.watchers {
        let path = "/events?filters=%7B%22event%22%3A%5B%22kill%22%5D%7D";
        let sent = client.begin("GET", path, "application/json", 0)?;
        let (stream, rest) = sent.head()?;
        ensure!(rest.is_empty(), "an event before there was one");
        stream.set_nonblocking(true)?;
        watching.push(Watching { stream, told: 0 });
    }
    let begun = Instant::now();
    // A signal that nobody minds: what is told of it waits for no disk.
    let signals = std::thread::spawn(move || -> Result<()> {
        for _ in 0..BURST {
            client.request("POST", "/containers/watched/kill?signal=WINCH", "")?;
        }
        Ok(())
    });
    while watching.iter().any(|one| one.told < BURST) {
        ensure!(begun.elapsed() < PATIENCE, "some were not told of all");
        let mut ready: Vec<PollFd<'_>> = watching
            .iter()
            .map(|one| PollFd::new(&one.stream, PollFlags::IN))
            .collect();
        poll(
            &mut ready,
            Some(&Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            }),
        )?;
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (one, _) in watching.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            one.read()?;
        }
    }
    let elapsed = begun.elapsed();
    signals.join().ok().context("the signals were not sent")??;
    let what = format!("{BURST} events to each who watches");
    column.ms(&what, elapsed.as_secs_f64() * 1e3);
    column.mib("memory meanwhile, at most", memory::peak(host));
    host.sh("docker rm -f watched").ok();
    Ok(())
}

struct Watching {
    stream: UnixStream,
    told: usize,
}

impl Watching {
    /// Each event is a line.
    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => anyhow::bail!("the stream of events ended"),
                Ok(n) => self.told += buffer[..n].iter().filter(|byte| **byte == b'\n').count(),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
