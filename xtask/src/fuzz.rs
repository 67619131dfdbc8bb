//! `cargo xtask fuzz`: the targets of `fuzz/`, under libFuzzer, and the Engine API, from its description.
//!
//! libFuzzer is guided by counters that the compiler puts in, which stable Rust can have it do as well; so what is
//! built for it is built apart. What it finds new is kept in the cache, and what fails is left in `target/fuzz`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cache_dir, cargo, output, root, run as run_command};
use crate::{packages, test};

const USAGE: &str = "usage: cargo xtask fuzz [TARGET...|api|list] [--seconds N]";

/// How long each target is run if nothing is said.
const SECONDS: u32 = 60;

/// No input may be answered later, in seconds, nor take more memory, in MiB.
const TIMEOUT: u32 = 10;
const MEMORY: u32 = 1024;

/// Inputs are not made longer than this.
const LONGEST: u32 = 16 << 10;

/// What sees which branches are taken, and what numbers and words are compared.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=yes -Coverflow-checks=yes -Cdebuginfo=line-tables-only";

struct Asked {
    targets: Vec<String>,
    seconds: u32,
}

fn read(args: &[String]) -> Result<Asked> {
    let mut asked = Asked {
        targets: Vec::new(),
        seconds: SECONDS,
    };
    let mut args = args.iter();
    while let Some(word) = args.next() {
        match word.as_str() {
            "--seconds" => {
                let seconds = args.next().context(USAGE)?;
                asked.seconds = seconds.parse().context(USAGE)?;
            }
            flag if flag.starts_with('-') => bail!(USAGE),
            name => asked.targets.push(name.to_owned()),
        }
    }
    Ok(asked)
}

pub fn run(args: &[String]) -> Result<()> {
    let mut asked = read(args)?;
    let known = known()?;
    if asked.targets == ["list"] {
        println!("{}\napi", known.join("\n"));
        return Ok(());
    }
    if asked.targets == ["api"] {
        return api(asked.seconds);
    }
    if asked.targets.is_empty() {
        asked.targets.clone_from(&known);
    }
    if let Some(name) = asked.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{name}`: they are {}", known.join(", "));
    }
    let program = build()?;
    let mut failed = Vec::new();
    for target in &asked.targets {
        eprintln!("{target}: {} seconds", asked.seconds);
        if let Err(e) = one(&program, target, asked.seconds) {
            eprintln!("{e:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn corpora() -> PathBuf {
    root().join("fuzz/corpus")
}

/// Each target has a corpus.
fn known() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpora())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build() -> Result<PathBuf> {
    packages::for_fuzz()?;
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let dir = root().join("target/fuzz");
    // The host is named, so that build scripts and macros are left as they are.
    run_command(
        cargo()
            .args(["build", "--release", "--package", "dhow-fuzz", "--bin"])
            .args(["dhow-fuzz", "--features", "libfuzzer", "--target", &host])
            .arg("--target-dir")
            .arg(&dir)
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("RUSTFLAGS", INSTRUMENTED),
    )?;
    Ok(dir.join(host).join("release/dhow-fuzz"))
}

fn one(program: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = cache_dir()?.join("fuzz").join(target);
    let failures = root().join("target/fuzz/failures").join(target);
    for dir in [&found, &failures] {
        std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    }
    run_command(
        Command::new(program)
            .env("DHOW_FUZZ_TARGET", target)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .args(["-print_final_stats=1", "-verbosity=0"])
            .arg(found)
            .arg(corpora().join(target)),
    )
    .with_context(|| format!("{target}: the input is in {}", failures.display()))
}

/// The test that asks for everything that the description has, for longer.
fn api(seconds: u32) -> Result<()> {
    let equipment = test::set_up()?;
    test::build_release()?;
    let mut command = cargo();
    command
        .args(["test", "--release", "--package", "dhow-tests"])
        .args(["--test", "e2e", "--", "--nocapture", "described::"])
        .env("DHOW_TEST_SECONDS", seconds.to_string());
    equipment.apply(&mut command);
    run_command(&mut command)
}
