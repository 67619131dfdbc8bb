//! A container's configuration as the client's wishes laid over the image's (moby `daemon/commit.go`,
//! `merge`).

use dhow_api::{ContainerConfig, Empty, HealthConfig};
use dhow_oci::{Healthcheck, RunConfig};

/// Fills in from the image what the client left open.
pub fn merge(config: &mut ContainerConfig, image: &RunConfig) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.iter().flatten().map(|(port, _)| port) {
        config.exposed_ports.entry(port.clone()).or_insert(Empty {});
    }
    config.env = match (config.env.take(), &image.env) {
        (None, image) => image.clone(),
        (Some(own), None) => Some(own),
        (Some(mut own), Some(image)) => {
            let name = |e: &String| e.split_once('=').map_or(e.as_str(), |(n, _)| n).to_owned();
            let names: Vec<String> = own.iter().map(name).collect();
            own.extend(image.iter().filter(|e| !names.contains(&name(e))).cloned());
            Some(own)
        }
    };
    for (key, value) in image.labels.iter().flatten() {
        config
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    merge_command(config, image);
    if let Some(health) = &image.healthcheck {
        merge_health(config, health);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    for path in image.volumes.iter().flatten().map(|(path, _)| path) {
        config
            .volumes
            .get_or_insert_with(Default::default)
            .entry(path.clone())
            .or_insert(Empty {});
    }
    // As in Docker, which clients compare with.
    config.volumes = config.volumes.take().filter(|v| !v.is_empty());
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    if config.stop_timeout.is_none() {
        config.stop_timeout = image.stop_timeout;
    }
    if config.shell.is_empty() {
        config.shell = image.shell.clone().unwrap_or_default();
    }
}

/// A command of the client's replaces the image's command, and an entrypoint of the client's both.
/// `[""]` is how the command line says that there shall be no entrypoint.
fn merge_command(config: &mut ContainerConfig, image: &RunConfig) {
    let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    match &config.entrypoint {
        None => {
            if none(&config.cmd) {
                config.cmd.clone_from(&image.cmd);
                config.args_escaped = image.args_escaped;
            }
            config.entrypoint.clone_from(&image.entrypoint);
        }
        Some(entrypoint) if entrypoint.len() == 1 && entrypoint[0].is_empty() => {
            config.entrypoint = None;
        }
        // No entrypoint, and the image's command if there is none either.
        Some(entrypoint) if entrypoint.is_empty() && none(&config.cmd) => {
            config.cmd.clone_from(&image.cmd);
            config.args_escaped = image.args_escaped;
        }
        Some(_) => {}
    }
}

fn merge_health(config: &mut ContainerConfig, image: &Healthcheck) {
    let from = HealthConfig {
        test: image.test.clone().unwrap_or_default(),
        interval: image.interval,
        timeout: image.timeout,
        start_period: image.start_period,
        start_interval: image.start_interval,
        retries: image.retries,
        // An image has no say in that.
        restart: 0,
    };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(from);
        return;
    };
    if own.test.is_empty() {
        own.test = from.test;
    }
    for (value, default) in [
        (&mut own.interval, from.interval),
        (&mut own.timeout, from.timeout),
        (&mut own.start_period, from.start_period),
        (&mut own.start_interval, from.start_interval),
        (&mut own.retries, from.retries),
    ] {
        if *value == 0 {
            *value = default;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["cmd".into()]),
            env: Some(vec!["A=image".into(), "B=image".into()]),
            ..RunConfig::default()
        }
    }

    fn command(
        entrypoint: Option<&[&str]>,
        cmd: Option<&[&str]>,
    ) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let own = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let mut config = ContainerConfig {
            entrypoint: entrypoint.map(own),
            cmd: cmd.map(own),
            ..ContainerConfig::default()
        };
        merge(&mut config, &image());
        (config.entrypoint, config.cmd)
    }

    #[test]
    fn commands() {
        let v = |s: &str| Some(vec![s.to_string()]);
        assert_eq!(command(None, None), (v("/entry"), v("cmd")));
        assert_eq!(command(None, Some(&[])), (v("/entry"), v("cmd")));
        assert_eq!(command(None, Some(&["x"])), (v("/entry"), v("x")));
        assert_eq!(command(Some(&["/e"]), None), (v("/e"), None));
        assert_eq!(command(Some(&[]), None), (Some(vec![]), v("cmd")));
        assert_eq!(command(Some(&[""]), None), (None, None));
        assert_eq!(command(Some(&[""]), Some(&["x"])), (None, v("x")));
        assert_eq!(command(Some(&[]), Some(&["x"])), (Some(vec![]), v("x")));
    }

    #[test]
    fn variables() {
        let mut config = ContainerConfig {
            env: Some(vec!["B=own".into(), "C=own".into()]),
            ..ContainerConfig::default()
        };
        merge(&mut config, &image());
        assert_eq!(config.env.unwrap(), ["B=own", "C=own", "A=image"]);
    }
}
