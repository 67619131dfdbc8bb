//! `cargo xtask bench NAME`: builds the release binary and the peers, and runs one of the benchmarks.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{release_dir, run as run_command};
use crate::test;

const NAMES: &[&str] = &[
    "run", "density", "pull", "idle", "exec", "network", "registry", "api",
];

pub fn run(args: &[String]) -> Result<()> {
    let Some(name) = args.first() else {
        bail!("which benchmark? They are {}", NAMES.join(", "));
    };
    if !NAMES.contains(&name.as_str()) {
        bail!(
            "there is no benchmark `{name}`: they are {}",
            NAMES.join(", ")
        );
    }
    let equipment = test::set_up()?;
    test::build_release()?;
    let mut bench = Command::new(release_dir()?.join("dhow-bench"));
    bench.args(args);
    equipment.apply(&mut bench);
    run_command(&mut bench)
}
