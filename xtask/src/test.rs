//! `cargo xtask test` and `cargo xtask ci`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, release_dir, root, run as run_command};
use crate::{node, packages, peers, python};

/// What the end-to-end tests find through the environment.
pub struct Equipment {
    pub peers: PathBuf,
    pub python: PathBuf,
    pub schemathesis: PathBuf,
    pub docker_py_suite: PathBuf,
    pub testcontainers: PathBuf,
    pub npm: node::Clients,
    pub api_descriptions: PathBuf,
    pub buildkit: PathBuf,
    pub patterns: PathBuf,
    pub binary: PathBuf,
}

impl Equipment {
    /// Hands it to a command that runs the tests.
    pub fn apply(&self, command: &mut Command) {
        command.envs(self.variables());
    }

    /// The variables that tell the tests of it.
    pub fn variables(&self) -> [(&'static str, PathBuf); 11] {
        [
            ("DHOW_BIN", self.binary.clone()),
            ("DHOW_PEERS_DIR", self.peers.clone()),
            ("DHOW_PYTHON", self.python.join("python3")),
            ("DHOW_SCHEMATHESIS", self.schemathesis.join("python3")),
            ("DHOW_DOCKER_PY_SUITE", self.docker_py_suite.clone()),
            (
                "DHOW_TESTCONTAINERS_PYTHON",
                self.testcontainers.join("python3"),
            ),
            ("DHOW_NODE", self.npm.node.clone()),
            ("DHOW_NODE_MODULES", self.npm.modules.clone()),
            ("DHOW_API_DESCRIPTIONS", self.api_descriptions.clone()),
            ("DHOW_BUILDKIT", self.buildkit.clone()),
            ("DHOW_PATTERNMATCHER", self.patterns.clone()),
        ]
    }
}

pub fn set_up() -> Result<Equipment> {
    packages::for_tests()?;
    peers::set_up_go()?;
    let peers = peers::build(&[])?;
    peers::build_testcontainers()?;
    Ok(Equipment {
        peers,
        python: python::venv("docker-py", python::DOCKER_PY)?,
        schemathesis: python::venv("schemathesis", python::SCHEMATHESIS)?,
        docker_py_suite: python::docker_py_suite()?,
        testcontainers: python::venv("testcontainers", python::TESTCONTAINERS)?,
        npm: node::clients()?,
        api_descriptions: peers::api_descriptions()?,
        buildkit: peers::buildkit()?,
        patterns: peers::patterns()?,
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
