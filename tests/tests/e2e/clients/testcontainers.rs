//! Testcontainers for Python, Node and Go: containers that tests wait for in every way, and the reaper, a container that
//! removes what a test run has left when it is gone.
//!
//! Builds are left out until Dhow has them.

use std::time::Duration;

use dhow_tests::image::{Image, Layer};
use dhow_tests::{TestHost, engine, eventually};
use serde_json::json;

/// The reaper, as it is published: each library knows it by its label.
fn ryuk() -> Image {
    let binary = std::fs::read(engine::peer("ryuk")).expect("a peer can be read");
    let mut layer = Layer::default();
    let layer = layer
        .file("bin/ryuk", 0o755, &binary)
        .and_then(|()| layer.finish())
        .expect("the archive is in memory");
    let labels = json!({ "org.testcontainers.ryuk": "true" });
    Image::new(
        &[layer],
        json!({ "Cmd": ["/bin/ryuk"], "Labels": labels, "Env": ["PATH=/bin"] }),
    )
}

/// What a library finds in its environment. It would ask whether it is in a container itself, where this machine is one.
const VARIABLES: &str = "TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1 TESTCONTAINERS_CONNECTION_MODE=docker_host \
    TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE=$PWD/s TC_POOLING_INTERVAL=0.05 RYUK_RECONNECTION_TIMEOUT=1s \
    TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT=1s TMPDIR=$PWD";

/// Runs a program of ours: with the reaper of the version that its library wants, to its end; and once more, to be
/// killed amid a session, whose containers the reaper then removes.
fn drives(reaper: &str, program: impl FnOnce(&TestHost) -> String) {
    let host = TestHost::start();
    host.push_image(&ryuk(), &format!("testcontainers/ryuk:{reaper}"));
    let line = format!("{VARIABLES} {}", program(&host));
    host.sh_within(Duration::from_secs(180), &line).ok();
    let aborted = host.sh(&format!("{line} abort"));
    // As the shell has it, or the program that the wheel of Node runs it by.
    assert!(
        matches!(aborted.code, 137 | 247) && aborted.stdout == "left\n",
        "{aborted:#?}"
    );
    eventually(
        "the reaper has removed all containers, itself at last",
        || host.sh("docker ps -aq").ok().is_empty().then_some(()),
    );
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
    let networks = host.sh("docker network ls -q --filter type=custom").ok();
    assert_eq!(networks, "");
}

#[test]
fn python() {
    drives("0.8.1", |host| {
        let script = include_str!("scripts/testcontainers_life.py");
        std::fs::write(host.path("life.py"), script).expect("the host's directory is writable");
        let python = super::installed(
            "DHOW_TESTCONTAINERS_PYTHON",
            "venv/testcontainers/bin/python3",
        );
        format!("{} -B life.py", python.display())
    });
}

#[test]
fn node() {
    drives("0.14.0", |host| {
        super::script(host, "life.js", include_str!("scripts/testcontainers.js"))
    });
}

#[test]
fn go() {
    drives("0.14.0", |_| {
        engine::peer("testcontainers-go").display().to_string()
    });
}
