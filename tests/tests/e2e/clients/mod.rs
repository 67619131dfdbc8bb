//! Libraries and programs of others that speak the Engine API: each drives a whole life, on Dhow and on dockerd. What
//! they show is in `docs/conformance.md`.

mod bollard;
mod devcontainer;
mod dive;
mod dockerode;
mod lazydocker;
mod testcontainers;

use std::path::PathBuf;

use dhow_tests::TestHost;

/// What `cargo xtask` has put there, if not where a variable says.
fn installed(variable: &str, place: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || {
            let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
            home.join(".cache/dhow").join(place)
        },
        PathBuf::from,
    )
}

fn node() -> PathBuf {
    installed("DHOW_NODE", "venv/node/bin/node")
}

fn node_modules() -> PathBuf {
    installed("DHOW_NODE_MODULES", "npm/node_modules")
}

/// The command line that runs a script of ours with Node, which finds the packages.
fn script(host: &TestHost, name: &str, text: &str) -> String {
    std::fs::write(host.path(name), text).expect("the host's directory is writable");
    format!(
        "NODE_PATH={} {} {name}",
        node_modules().display(),
        node().display()
    )
}
