//! `dhow-bench NAME`: Dhow beside the newest peer and, where there is one, a floor, all measured in one run on one
//! machine. `cargo xtask bench NAME` builds all that it needs and runs it.

mod api;
mod clients;
mod density;
mod exec;
mod hosts;
mod idle;
mod measure;
mod network;
mod programs;
mod pull;
mod registry;
mod report;
mod run;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    match name.as_str() {
        "api" => return api::bench(args),
        "network" => return network::bench(args),
        _ => {}
    }
    let count = args.next().map(|n| n.parse()).transpose()?;
    match name.as_str() {
        "run" => run::bench(count.unwrap_or(40)),
        "exec" => exec::bench(count.unwrap_or(40)),
        "density" => density::bench(count.unwrap_or(300)),
        "pull" => pull::bench(count.unwrap_or(3)),
        "idle" => idle::bench(count.unwrap_or(30)),
        "registry" => registry::run(),
        other => bail!("there is no benchmark `{other}`"),
    }
}
