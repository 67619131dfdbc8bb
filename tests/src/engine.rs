//! Which engine and registry are tested: ours, or the newest peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::netns::NetNs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Dhow,
    /// moby's dockerd and distribution's registry.
    Dockerd,
}

impl Engine {
    pub fn under_test() -> Engine {
        match std::env::var("DHOW_TEST_ENGINE").as_deref() {
            Ok("dockerd") => Engine::Dockerd,
            Ok("dhow") | Err(_) => Engine::Dhow,
            Ok(other) => panic!("DHOW_TEST_ENGINE is dhow or dockerd, not {other}"),
        }
    }

    /// The daemon with these directories; more arguments may follow.
    pub fn daemon(self, netns: &NetNs, dir: &Path) -> Command {
        let mut command = match self {
            Engine::Dhow => {
                let mut command = netns.command(dhow());
                command.arg("daemon");
                command
            }
            Engine::Dockerd => {
                let mut command = netns.command(peer("dockerd"));
                command.env("PATH", path_with_peers());
                command
            }
        };
        command
            .arg("-H")
            .arg(format!("unix://{}", dir.join("s").display()))
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("run"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["--registry-mirror", "http://127.0.0.1:5000"])
            .args(["--insecure-registry", "127.0.0.1:5000"]);
        command
    }

    /// The registry on 127.0.0.1:5000.
    pub fn registry(self, netns: &NetNs, dir: &Path) -> Command {
        match self {
            Engine::Dhow => dhow_registry(netns, dir, 5000),
            Engine::Dockerd => distribution(netns, dir, 5000),
        }
    }
}

/// `dhow registry serve` on a loopback port.
pub fn dhow_registry(netns: &NetNs, root: &Path, port: u16) -> Command {
    let mut command = netns.command(dhow());
    command
        .args(["registry", "serve", "--addr"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--root")
        .arg(root);
    command
}

/// distribution's registry on a loopback port.
pub fn distribution(netns: &NetNs, root: &Path, port: u16) -> Command {
    let config = root.with_extension("yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
        root.display()
    );
    std::fs::write(&config, text).expect("the host's directory is writable");
    let mut command = netns.command(peer("registry"));
    command
        .arg("serve")
        .arg(config)
        .env("OTEL_TRACES_EXPORTER", "none");
    command
}

/// The binary under test: named by `DHOW_BIN` (`cargo xtask test` does), else the release build beside this test.
pub fn dhow() -> PathBuf {
    if let Some(binary) = std::env::var_os("DHOW_BIN") {
        return PathBuf::from(binary);
    }
    let test = std::env::current_exe().expect("/proc is mounted");
    // target/TUPLE/PROFILE/deps/TEST
    let tuple = test
        .ancestors()
        .nth(3)
        .expect("tests are run from the target directory");
    let binary = tuple.join("release/dhow");
    assert!(
        binary.exists(),
        "{} isn't there: run `cargo build --release`, or `cargo xtask test`",
        binary.display()
    );
    binary
}

/// One of the peers that `cargo xtask peers` builds.
pub fn peer(name: &str) -> PathBuf {
    let dir = peers_dir();
    let binary = dir.join(name);
    assert!(
        binary.exists(),
        "{} isn't there: run `cargo xtask peers`",
        binary.display()
    );
    binary
}

fn peers_dir() -> PathBuf {
    match std::env::var_os("DHOW_PEERS_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/dhow/peers")
        }
    }
}

pub fn path_with_peers() -> std::ffi::OsString {
    let mut path = peers_dir().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}
