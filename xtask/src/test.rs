//! `cargo xtask test` and `cargo xtask ci`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, release_dir, root, run as run_command};
use crate::{packages, peers, python};

/// What the end-to-end tests find through the environment.
pub struct Equipment {
    pub peers: PathBuf,
    pub python: PathBuf,
    pub schemathesis: PathBuf,
    pub docker_py_suite: PathBuf,
    pub api_descriptions: PathBuf,
    pub binary: PathBuf,
}

impl Equipment {
    /// Hands it to a command that runs the tests.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("DHOW_BIN", &self.binary)
            .env("DHOW_PEERS_DIR", &self.peers)
            .env("DHOW_PYTHON", self.python.join("python3"))
            .env("DHOW_SCHEMATHESIS", self.schemathesis.join("python3"))
            .env("DHOW_DOCKER_PY_SUITE", &self.docker_py_suite)
            .env("DHOW_API_DESCRIPTIONS", &self.api_descriptions);
    }
}

pub fn set_up() -> Result<Equipment> {
    packages::for_tests()?;
    peers::set_up_go()?;
    Ok(Equipment {
        peers: peers::build(&[])?,
        python: python::venv("docker-py", python::DOCKER_PY)?,
        schemathesis: python::venv("schemathesis", python::SCHEMATHESIS)?,
        docker_py_suite: python::docker_py_suite()?,
        api_descriptions: peers::api_descriptions()?,
        binary: release_dir()?.join("dhow"),
    })
}

/// Everything is built in the release profile: the end-to-end tests and the benchmarks want the binary as it is
/// shipped, and one profile is built in half the time of two.
pub fn build_release() -> Result<()> {
    run_command(cargo().args(["build", "--workspace", "--bins", "--release"]))
}

pub fn run_tests(equipment: &Equipment, args: &[String]) -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--release"])
        .args(args);
    equipment.apply(&mut command);
    run_command(&mut command)
}

pub fn run(args: &[String]) -> Result<()> {
    let equipment = set_up()?;
    build_release()?;
    run_tests(&equipment, args)
}

/// What CI does, as CI does it.
pub fn ci() -> Result<()> {
    run_command(Command::new("bash").arg(root().join(".ci/run")))
}
