//! All there is to know of one container: `docker inspect`.

use dhow_api::time::rfc3339_nano;
use dhow_api::{ContainerInspect, ContainerState, DriverData, HostConfig, NetworkSettings};

use super::Containers;
use super::container::{Container, Life};
use super::health::Health;
use super::logging::LogSettings;
use super::state::State;
use crate::error::Result;
use crate::networks::ports;

impl Containers {
    pub fn inspect(&self, name: &str) -> Result<ContainerInspect> {
        let container = self.inner.table.find(name)?;
        let (name, definition, life, execs, health, out_of_memory) = {
            let view = container.view();
            (
                view.name.clone(),
                view.definition.clone(),
                view.life.clone(),
                view.execs.clone(),
                view.health.clone(),
                view.oom_told,
            )
        };
        let mut command = definition.command().into_iter();
        let files = container.etc_files();
        let published = life
            .endpoints
            .iter()
            .flat_map(|e| e.ports.iter().cloned())
            .collect::<Vec<_>>();
        let running = life.state.run().is_some();
        let network_settings = NetworkSettings {
            sandbox_id: if running {
                container.id.to_string()
            } else {
                String::new()
            },
            sandbox_key: match life.state.run() {
                Some(run) => format!("/proc/{}/ns/net", run.pid),
                None => String::new(),
            },
            ports: if running && !life.endpoints.is_empty() {
                ports::port_map(&definition.config, &published)
            } else {
                Default::default()
            },
            networks: self.inner.networks.of(
                &definition.wishes(&container.id, &name),
                &life.endpoints,
                running,
            ),
        };
        let log_path = LogSettings::read(&definition.host_config.log_config)
            .ok()
            .and_then(|settings| settings.log_path(&container));
        Ok(ContainerInspect {
            id: container.id.to_string(),
            created: rfc3339_nano(container.created),
            path: command.next().unwrap_or_default(),
            args: command.collect(),
            state: show_state(&life, health, out_of_memory),
            image: definition.image_id.clone(),
            resolv_conf_path: files.resolv_conf.display().to_string(),
            hostname_path: files.hostname.display().to_string(),
            hosts_path: files.hosts.display().to_string(),
            log_path: log_path.map_or_else(String::new, |path| path.display().to_string()),
            name: format!("/{name}"),
            restart_count: i64::from(life.restart_count),
            driver: "overlay2".into(),
            platform: "linux".into(),
            exec_ids: Some(execs).filter(|e| !e.is_empty()),
            host_config: HostConfig {
                links: self.shown_links(&definition, &name),
                ..definition.host_config.clone()
            },
            graph_driver: Some(self.graph_driver(&container)),
            mounts: definition
                .mounts
                .iter()
                .map(|m| m.point(|v| self.inner.volumes.data_dir(v).display().to_string()))
                .collect(),
            config: definition.config.clone(),
            network_settings,
            ..ContainerInspect::default()
        })
    }

    fn graph_driver(&self, container: &Container) -> DriverData {
        let lower = self
            .lower_dirs(container)
            .iter()
            .map(|d| d.display().to_string())
            .collect::<Vec<_>>()
            .join(":");
        DriverData {
            name: "overlay2".into(),
            data: Some(
                [
                    ("ID".to_owned(), container.id.to_string()),
                    ("LowerDir".to_owned(), lower),
                    (
                        "UpperDir".to_owned(),
                        container.upper_dir().display().to_string(),
                    ),
                    (
                        "WorkDir".to_owned(),
                        container.work_dir().display().to_string(),
                    ),
                ]
                .into(),
            ),
        }
    }
}

fn show_state(life: &Life, health: Option<Health>, out_of_memory: bool) -> ContainerState {
    let state = &life.state;
    let mut shown = ContainerState {
        status: state.status().to_owned(),
        running: state.is_live(),
        paused: matches!(state, State::Paused(_)),
        restarting: state.status() == "restarting",
        dead: matches!(state, State::Dead(_)),
        oom_killed: out_of_memory,
        started_at: rfc3339_nano(0),
        finished_at: rfc3339_nano(0),
        health: health.map(|h| dhow_api::Health {
            status: h.status.name().to_owned(),
            failing_streak: h.failing_streak,
            log: Some(h.log.into()),
        }),
        ..ContainerState::default()
    };
    if let Some(run) = state.run() {
        shown.pid = i64::from(run.pid);
        shown.started_at = rfc3339_nano(run.started_at);
        shown.finished_at = rfc3339_nano(run.last_finished_at);
    }
    if let Some(ended) = state.ended() {
        shown.exit_code = i64::from(ended.exit_code);
        shown.error.clone_from(&ended.error);
        shown.oom_killed = ended.oom_killed;
        shown.started_at = rfc3339_nano(ended.started_at);
        shown.finished_at = rfc3339_nano(ended.finished_at);
    }
    shown
}
