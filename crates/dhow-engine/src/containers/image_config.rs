//! What of a container's configuration an image can keep: all that says how to run it anywhere, and nothing of this
//! one container.

use std::collections::BTreeMap;

use dhow_api::{ContainerConfig, Empty, HealthConfig};
use dhow_oci::{Healthcheck, RunConfig};
use serde_json::Value;

/// The configuration of an image whose containers are like this one.
pub fn of(config: &ContainerConfig) -> RunConfig {
    RunConfig {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.as_ref().and_then(set),
        working_dir: config.working_dir.clone(),
        labels: Some(config.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        shell: Some(config.shell.clone()).filter(|shell| !shell.is_empty()),
        on_build: Some(config.on_build.clone()).filter(|steps| !steps.is_empty()),
        args_escaped: config.args_escaped,
        other: Default::default(),
    }
}

fn set(keys: &BTreeMap<String, Empty>) -> Option<BTreeMap<String, Value>> {
    let empty = || Value::Object(Default::default());
    let map = keys.keys().map(|key| (key.clone(), empty()));
    (!keys.is_empty()).then(|| map.collect())
}

fn healthcheck(config: &HealthConfig) -> Healthcheck {
    Healthcheck {
        test: Some(config.test.clone()).filter(|test| !test.is_empty()),
        interval: config.interval,
        timeout: config.timeout,
        start_period: config.start_period,
        start_interval: config.start_interval,
        retries: config.retries,
    }
}
