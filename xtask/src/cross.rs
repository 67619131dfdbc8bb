//! `cargo xtask cross`: the binary for aarch64, and the unit tests run under qemu's user emulation (the runner is
//! in `.cargo/config.toml`). What emulation can't do is left to the native run.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, on_path, run as run_command};
use crate::packages;

const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The tests of what the emulation lacks: `openat2`, netfilter's sockets, seccomp filters, and a kernel that
/// executes another program of the emulated architecture.
const NOT_EMULATED: &[&str] = &[
    "unpack::tests::",
    "init::mounts::tests::",
    "knows_whether_the_table_is_intact",
    "finds_the_chains_that_drop",
    "the_kernel_takes_the_default_policy_and_enforces_it",
    "the_program_of_aarch64_runs",
];

pub fn run(args: &[String]) -> Result<()> {
    packages::for_cross()?;
    if on_path("rustup") {
        run_command(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    run_command(cross("build").args(["--package", "dhow", "--release"]))?;
    let mut tests = cross("test");
    tests.args([
        "--workspace",
        "--release",
        "--lib",
        "--bins",
        "--no-fail-fast",
    ]);
    // The end-to-end tests drive a daemon, which emulation can't run.
    for package in ["dhow-tests", "xtask", "dhow-benches"] {
        tests.args(["--exclude", package]);
    }
    tests.args(args);
    if !args.iter().any(|arg| arg == "--") {
        tests.arg("--");
    }
    for test in NOT_EMULATED {
        tests.args(["--skip", test]);
    }
    run_command(&mut tests)
}

fn cross(subcommand: &str) -> Command {
    let mut command = cargo();
    command
        .args([subcommand, "--target", TARGET])
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc");
    command
}
