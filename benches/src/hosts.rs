//! The engines side by side, each on a test host of its own.

use dhow_tests::{Engine, HostOptions, TestHost};

/// The peer first: it is what the rest is compared with.
pub const ENGINES: [Engine; 2] = [Engine::Dockerd, Engine::Dhow];

pub fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Dhow => "dhow",
        Engine::Dockerd => "dockerd",
    }
}

pub fn start(engine: Engine) -> TestHost {
    start_with(engine, &[])
}

/// With further arguments of the daemon.
pub fn start_with(engine: Engine, daemon: &[&str]) -> TestHost {
    TestHost::of(
        engine,
        HostOptions {
            daemon: daemon.iter().map(|word| (*word).to_owned()).collect(),
            ..HostOptions::default()
        },
    )
}
