//! Virtual environments of Python packages, in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{cache_dir, output};

/// What the tests that drive the daemon through docker-py need, and those of its own suite, which want ssh to be there.
pub const DOCKER_PY: &[&str] = &[
    "docker[ssh,websockets]==7.2.0",
    "pytest==8.4.2",
    "pytest-rerunfailures==16.7",
    "pytest-timeout==2.4.0",
];

/// What makes requests of the Engine API's description.
pub const SCHEMATHESIS: &[&str] = &["schemathesis==4.32.5"];

/// In an environment of its own: it is not to choose docker-py's version.
pub const TESTCONTAINERS: &[&str] = &["testcontainers==4.15.0"];

/// The last release whose source package carries the integration tests.
const DOCKER_PY_SUITE: &str = "6.1.3";

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

/// docker-py's integration tests, out of its source package: the directory that has `tests/` in it.
pub fn docker_py_suite() -> Result<PathBuf> {
    let suites = cache_dir()?.join("suites");
    let package = format!("docker-{DOCKER_PY_SUITE}");
    let suite = suites.join(&package);
    if suite.join("pytest.ini").exists() {
        return Ok(suite);
    }
    eprintln!("fetching docker-py's tests from PyPI");
    std::fs::create_dir_all(&suites)?;
    output(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-deps", "--no-binary", ":all:", "--dest"])
            .arg(&suites)
            .arg(format!("docker=={DOCKER_PY_SUITE}")),
    )?;
    // Without the library of that release, which would be found before the installed one; what says that it is whole comes last.
    for part in ["tests", "pytest.ini"] {
        output(
            Command::new("tar")
                .arg("-xzf")
                .arg(suites.join(format!("{package}.tar.gz")))
                .arg("-C")
                .arg(&suites)
                .arg(format!("{package}/{part}")),
        )?;
    }
    Ok(suite)
}
