//! `cargo xtask apparmor`: compiles the AppArmor profile of containers, which the runtime has in it. The parser
//! is Debian's, taken out of its package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cache_dir, output, root};
use crate::packages;

/// What the committed profile was compiled with: another version may write other bytes that mean the same.
const PARSER: &str = "3.0.8";

pub fn run() -> Result<()> {
    let parser = parser()?;
    if !is_expected(&parser)? {
        bail!(
            "the profile is compiled with version {PARSER} of apparmor_parser, and this machine's Debian has another: \
             change PARSER in xtask/src/apparmor.rs and commit it with what is compiled"
        );
    }
    let compiled = compile(&parser)?;
    fs::write(directory().join("docker-default.bin"), compiled)?;
    Ok(())
}

fn directory() -> PathBuf {
    root().join("crates/dhow-runtime/src/apparmor")
}

fn unpacked() -> Result<PathBuf> {
    Ok(cache_dir()?.join("apparmor"))
}

fn parser() -> Result<PathBuf> {
    let unpacked = unpacked()?;
    if find(&unpacked).is_none() {
        packages::unpack("apparmor", &unpacked)?;
    }
    find(&unpacked).context("the package apparmor has no apparmor_parser")
}

/// Debian 13 has /sbin in /usr.
fn find(unpacked: &Path) -> Option<PathBuf> {
    ["sbin", "usr/sbin"]
        .map(|dir| unpacked.join(dir).join("apparmor_parser"))
        .into_iter()
        .find(|parser| parser.is_file())
}

fn is_expected(parser: &Path) -> Result<bool> {
    let version = output(Command::new(parser).arg("--version"))?;
    Ok(version
        .lines()
        .next()
        .is_some_and(|line| line.ends_with(PARSER)))
}

/// Nothing but the two files beside it goes in: no configuration, no cache, nothing of this machine's kernel.
fn compile(parser: &Path) -> Result<Vec<u8>> {
    let directory = directory();
    let to = std::env::temp_dir().join(format!("dhow-apparmor-{}", std::process::id()));
    let written = output(
        Command::new(parser)
            .args(["--config-file", "/dev/null", "--quiet"])
            .args(["--skip-kernel-load", "--skip-cache", "--abort-on-error"])
            .arg("--base")
            .arg(&directory)
            .arg("--features-file")
            .arg(directory.join("features"))
            .arg("--ofile")
            .arg(&to)
            .arg(directory.join("docker-default")),
    )
    .and_then(|_| Ok(fs::read(&to)?));
    let _ = fs::remove_file(&to);
    match written? {
        empty if empty.is_empty() => bail!("apparmor_parser wrote nothing"),
        compiled => Ok(compiled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_profile_is_what_its_source_compiles_to() {
        let Some(parser) = find(&unpacked().unwrap()).filter(|p| is_expected(p).unwrap()) else {
            println!(
                "skipped: `cargo xtask apparmor` has not fetched apparmor_parser {PARSER} here"
            );
            return;
        };
        let compiled = compile(&parser).unwrap();
        let committed = fs::read(directory().join("docker-default.bin")).unwrap();
        assert!(
            compiled == committed,
            "the source was changed without `cargo xtask apparmor`"
        );
    }
}
