//! `cargo xtask cross`: the binary for aarch64, and the unit tests run under qemu's user emulation (the runner is
//! in `.cargo/config.toml`). What emulation can't do, such as making namespaces, is left to the native run.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, on_path, run as run_command};
use crate::packages;

const TARGET: &str = "aarch64-unknown-linux-gnu";

pub fn run(args: &[String]) -> Result<()> {
    packages::for_cross()?;
    if on_path("rustup") {
        run_command(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    run_command(cross("build").args(["--package", "dhow", "--release"]))?;
    // The end-to-end tests drive a daemon, which emulation can't run.
    run_command(
        cross("test")
            .args([
                "--workspace",
                "--release",
                "--lib",
                "--bins",
                "--no-fail-fast",
            ])
            .args([
                "--exclude",
                "dhow-tests",
                "--exclude",
                "xtask",
                "--exclude",
                "dhow-benches",
            ])
            .args(args),
    )
}

fn cross(subcommand: &str) -> Command {
    let mut command = cargo();
    command
        .args([subcommand, "--target", TARGET])
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    command
}
