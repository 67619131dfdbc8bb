//! The end-to-end harness: a daemon and a registry in a network namespace of their own, driven by real clients.
//!
//! A [`TestHost`] is one machine's worth of Dhow. Tests make as many as they like, side by side; each has its own
//! data-root, exec-root, socket and network, and no packet to an address in it can leave it. When it is dropped,
//! its containers are removed and its daemon ended, and then nothing of it may be left: no process, mount, cgroup,
//! link, rule or file. That check is part of every test.
//!
//! The same tests can run against the newest peer, `DHOW_TEST_ENGINE=dockerd`: what it does settles a doubt about
//! what Docker's users expect.

pub mod engine;
pub mod footprint;
pub mod host;
pub mod http;
pub mod image;
pub mod netns;
pub mod processes;
pub mod random;
pub mod shell;
pub mod terminal;

pub use engine::Engine;
pub use host::{Answer, HostOptions, TestHost};
pub use processes::{Census, Process};
pub use random::Random;
pub use shell::{Background, Finished};
pub use terminal::Terminal;

use std::time::{Duration, Instant};

/// Waits until a condition holds. Fails the test after a minute, a time that says that it never will.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    match within(Duration::from_secs(60), &mut condition) {
        Some(value) => value,
        None => panic!("it never came to this: {what}"),
    }
}

/// What the condition gives as soon as it gives something, or nothing when the time is over.
pub fn within<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time * patience();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many rounds of a test that meets crashes are run; the full measure is five hundred and more.
pub fn rounds() -> u32 {
    std::env::var("DHOW_TEST_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

/// How long a test goes on that may go on for ever: `DHOW_TEST_SECONDS`, or else what is enough beside others.
pub fn seconds(usual: u64) -> Duration {
    let asked = std::env::var("DHOW_TEST_SECONDS").ok();
    Duration::from_secs(asked.and_then(|n| n.parse().ok()).unwrap_or(usual))
}

/// How many times as long things may take: a virtual machine without hardware's help is slow.
pub fn patience() -> u32 {
    std::env::var("DHOW_TEST_PATIENCE")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}
