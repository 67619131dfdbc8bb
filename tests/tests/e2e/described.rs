//! The Engine API asked for all that its published description has, by schemathesis, which makes what fits it and
//! what nearly does: no request crashes the daemon, hangs it or is answered by 500. `DHOW_TEST_SECONDS` says for how
//! long, and `DHOW_TEST_SEED` repeats what was asked.

use std::path::PathBuf;
use std::time::Duration;

use dhow_tests::{Engine, TestHost, seconds};

use crate::contract::{NEWEST, published};

const ASK: &str = include_str!("described/ask.py");

fn python() -> PathBuf {
    match std::env::var_os("DHOW_SCHEMATHESIS") {
        Some(python) => python.into(),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
            .join(".cache/dhow/venv/schemathesis/bin/python3"),
    }
}

#[test]
fn no_described_request_is_answered_by_500() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    let seed = std::env::var("DHOW_TEST_SEED").unwrap_or_else(|_| "1".into());
    let time = seconds(20);
    std::fs::write(host.path("ask.py"), ASK).unwrap();
    let pid = host.daemon_pid();
    let asked = host.sh_within(
        time + Duration::from_secs(300),
        &format!(
            "{} ask.py {} {} {} {seed}",
            python().display(),
            host.socket().display(),
            published(NEWEST).display(),
            time.as_secs()
        ),
    );
    assert_eq!(asked.code, 0, "{}\n{}", asked.stdout, asked.stderr);
    println!("{}", asked.stdout);
    assert_eq!(host.daemon_pid(), pid);
    let log = host.daemon_log();
    assert!(!log.contains("panicked"), "{log}");
    host.sh("docker ps -aq | xargs -r docker rm -f -v >/dev/null; docker volume prune -af")
        .ok();
}
