//! Measuring and showing: medians and 95th percentiles in tables.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dhow_tests::TestHost;

/// Measurements of one thing, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    pub fn add_ms(&mut self, ms: f64) {
        self.0.push(ms);
    }

    /// The smallest sample that so large a share is not above.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(index.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn p95(&self) -> f64 {
        self.quantile(0.95)
    }
}

pub fn time<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed(), value)
}

/// How long a command takes from its start to its end, with nothing else around it.
pub fn command(host: &TestHost, words: &[&str]) -> Result<Duration> {
    let (program, args) = words.split_first().context("a command has a name")?;
    let mut command = host.program(program);
    command.args(args).stdin(Stdio::null());
    let (elapsed, output) = time(|| command.output());
    let output = output.with_context(|| format!("can't run {program}"))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(elapsed)
}

/// How long each of so many runs of a command takes, after one that isn't counted.
pub fn commands(host: &TestHost, words: &[&str], count: usize) -> Result<Samples> {
    command(host, words)?;
    let mut samples = Samples::default();
    for _ in 0..count {
        samples.add(command(host, words)?);
    }
    Ok(samples)
}

/// A request to the daemon; gives the milliseconds from the connection to the answer's last byte, without those
/// that the client's own start takes.
pub fn request(
    host: &TestHost,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<(f64, String)> {
    let mut curl = host.netns.command("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--request",
        method,
    ])
    .args(["--write-out", "\n%{time_total}", "--unix-socket"])
    .arg(host.socket())
    .arg(format!("http://d/v1.44{path}"));
    if let Some(body) = body {
        curl.args([
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            body,
        ]);
    }
    let output = curl
        .output()
        .context("curl is installed by `cargo xtask setup`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, seconds) = text.rsplit_once('\n').context("curl wrote no time")?;
    if !output.status.success() {
        bail!(
            "{method} {path}: {body} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok((seconds.trim().parse::<f64>()? * 1e3, body.to_owned()))
}

/// A table whose columns are as wide as what is in them; all but the first are aligned to the right.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table(vec![head.iter().map(|s| (*s).to_owned()).collect()])
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    pub fn print(&self) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|i| {
                self.0
                    .iter()
                    .filter_map(|row| row.get(i))
                    .map(String::len)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &self.0 {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                let width = widths[i];
                line += &if i == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                };
            }
            println!("{}", line.trim_end());
        }
        println!();
    }
}

pub fn ms(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// How many times as much, as `0.12x`.
pub fn ratio(value: f64, of: f64) -> String {
    format!("{:.2}x", value / of)
}
