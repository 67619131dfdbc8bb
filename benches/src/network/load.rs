//! The program that makes the traffic: in an image, and run where the traffic is to come from.

use anyhow::{Context, Result, ensure};
use dhow_tests::TestHost;
use dhow_tests::image::{Image, Layer};
use dhow_tests::netns::NetNs;
use serde_json::json;

use super::elsewhere::{Elsewhere, HERE};
use crate::programs::{beside, output};

pub const PROGRAM: &str = "dhow-traffic";
/// The image with the program in it. What follows its name in `run` are the program's words.
pub const IMAGE: &str = "traffic";
/// So many are made to each port for a median.
const CONNECTIONS: &str = "2000";

/// Puts the image into the engine's store.
pub fn bring_image(host: &TestHost) -> Result<()> {
    let mut layer = Layer::default();
    layer.file(PROGRAM, 0o755, &std::fs::read(beside(PROGRAM)?)?)?;
    let image = Image::new(
        &[layer.finish()?],
        json!({"Entrypoint": [format!("/{PROGRAM}")]}),
    );
    host.push_image(&image, &format!("library/{IMAGE}:latest"));
    host.sh(&format!("docker pull -q {IMAGE}")).ok();
    Ok(())
}

/// Who connects.
#[derive(Clone, Copy)]
pub enum From<'a> {
    Namespace(&'a NetNs),
    Container(&'a TestHost, &'a str),
}

/// Runs the program's client; the figures that it prints.
pub fn measure(from: From, words: &[&str]) -> Result<Vec<f64>> {
    let mut command = match from {
        From::Namespace(netns) => netns.command(beside(PROGRAM)?),
        From::Container(host, name) => {
            let mut command = host.program("dhow");
            command.args(["exec", name, &format!("/{PROGRAM}")]);
            command
        }
    };
    let printed = output(command.args(words))?;
    let figures: Result<Vec<f64>, _> = printed.split_whitespace().map(str::parse).collect();
    let figures = figures.with_context(|| format!("{words:?}: {printed}"))?;
    ensure!(!figures.is_empty(), "{words:?} printed nothing");
    Ok(figures)
}

/// The medians of the microseconds that a connection from elsewhere takes through each of these published ports.
pub fn latency(elsewhere: &Elsewhere, ports: &[u16]) -> Result<Vec<f64>> {
    let addresses: Vec<String> = ports.iter().map(|port| format!("{HERE}:{port}")).collect();
    let mut words = vec!["latency", CONNECTIONS];
    words.extend(addresses.iter().map(String::as_str));
    let medians = measure(From::Namespace(&elsewhere.netns), &words)?;
    ensure!(medians.len() == ports.len(), "{medians:?} for {ports:?}");
    Ok(medians)
}
