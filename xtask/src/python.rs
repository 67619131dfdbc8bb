//! Virtual environments of Python packages, in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{cache_dir, output};

/// What the tests that drive the daemon through docker-py need.
pub const DOCKER_PY: &[&str] = &["docker==7.1.0"];

/// A virtual environment with these packages; gives its `bin` directory.
pub fn venv(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let dir = cache_dir()?.join("venv").join(name);
    let stamp = dir.join("dhow-packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(dir.join("bin"));
    }
    eprintln!("installing {} from PyPI", packages.join(" "));
    output(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&dir),
    )?;
    output(
        Command::new(dir.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    )?;
    std::fs::write(&stamp, wanted)?;
    Ok(dir.join("bin"))
}
