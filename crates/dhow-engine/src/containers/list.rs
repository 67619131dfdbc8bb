//! The list of containers: `docker ps`. Reads copies of what is in memory, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_api::{
    ContainerSummary, Filters, HealthSummary, SummaryHostConfig, SummaryNetworkSettings,
};

use super::Containers;
use super::container::{Container, Life};
use super::definition::{Definition, MountKind};
use super::health::HealthStatus;
use super::state::State;
use crate::error::{EngineError, Result};
use crate::networks::{Attached, EndpointRecord, NetworkMode, ports};

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, running or not.
    pub limit: Option<usize>,
    pub filters: Filters,
}

const FILTERS: [&str; 17] = [
    "ancestor",
    "annotation",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
];

/// What was copied of a container.
struct Row {
    container: Arc<Container>,
    name: Arc<str>,
    definition: Arc<Definition>,
    life: Life,
    health: Option<(HealthStatus, i64)>,
}

impl Containers {
    /// Newest first.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        let filters = &options.filters;
        filters.validate(&FILTERS)?;
        for status in filters.get("status") {
            if !STATUSES.contains(&status) {
                return Err(EngineError::invalid(format!(
                    "invalid filter 'status={status}'"
                )));
            }
        }
        let exited: Vec<i32> = filters
            .get("exited")
            .map(|c| {
                c.parse()
                    .map_err(|_| EngineError::invalid(format!("invalid filter 'exited={c}'")))
            })
            .collect::<Result<_>>()?;
        let edge = |key: &str| -> Result<Option<i64>> {
            match filters.get(key).next() {
                None => Ok(None),
                Some(name) => Ok(Some(self.inner.table.find(name)?.created)),
            }
        };
        let (before, since) = (edge("before")?, edge("since")?);
        let ancestors: Vec<String> = filters
            .get("ancestor")
            .filter_map(|name| self.inner.images.resolve(name).ok())
            .map(|image| image.id.to_string())
            .collect();
        // By name, id, or the beginning of an id.
        let networks: Vec<String> = filters
            .get("network")
            .map(|name| self.inner.networks.settled_name(name))
            .collect();
        let meant = Meant {
            exited,
            ancestors,
            networks,
        };
        let everything = options.all
            || options.limit.is_some()
            || filters.contains("status")
            || filters.contains("exited");

        let mut rows: Vec<Row> = self
            .inner
            .table
            .all()
            .into_iter()
            .filter_map(|container| {
                let (name, definition, life, health) = {
                    let view = container.view();
                    if !everything && !view.life.state.is_live() {
                        return None;
                    }
                    (
                        view.name.clone(),
                        view.definition.clone(),
                        view.life.clone(),
                        view.health.as_ref().map(|h| (h.status, h.failing_streak)),
                    )
                };
                Some(Row {
                    container,
                    name,
                    definition,
                    life,
                    health,
                })
            })
            .filter(|row| before.is_none_or(|b| row.container.created < b))
            .filter(|row| since.is_none_or(|s| row.container.created > s))
            .filter(|row| matches(row, filters, &meant))
            .collect();
        rows.sort_by(|a, b| {
            b.container
                .created
                .cmp(&a.container.created)
                .then_with(|| a.container.id.cmp(&b.container.id))
        });
        if let Some(limit) = options.limit {
            rows.truncate(limit);
        }
        // One name a distinct image, not one search a container.
        let mut images: BTreeMap<String, String> = BTreeMap::new();
        let now = dhow_api::time::now();
        let mut linked = self.linked_names();
        Ok(rows
            .iter()
            .map(|row| {
                let mut summary = self.summary(row, now, &mut images);
                summary
                    .names
                    .extend(linked.remove(&row.container.id).unwrap_or_default());
                summary
            })
            .collect())
    }

    fn summary(
        &self,
        row: &Row,
        now: i64,
        images: &mut BTreeMap<String, String>,
    ) -> ContainerSummary {
        let Row {
            container,
            name,
            definition,
            life,
            health,
        } = row;
        let key = format!("{}\0{}", definition.config.image, definition.image_id);
        let image = images
            .entry(key)
            .or_insert_with(|| self.shown_image(definition))
            .clone();
        let published = life
            .endpoints
            .iter()
            .flat_map(|e| e.ports.iter().cloned())
            .collect::<Vec<_>>();
        ContainerSummary {
            id: container.id.to_string(),
            names: vec![format!("/{name}")],
            image,
            image_id: definition.image_id.clone(),
            command: command(definition),
            created: container.created / 1_000_000_000,
            // As in Docker, only what runs has ports.
            ports: match life.state.run() {
                Some(_) => ports::summary(&definition.config, &published),
                None => Vec::new(),
            },
            labels: definition.config.labels.clone(),
            state: life.state.status().to_owned(),
            status: status_text(&life.state, health.map(|(status, _)| status), now),
            health: health.map(|(status, failing_streak)| HealthSummary {
                status: status.name().to_owned(),
                failing_streak,
            }),
            host_config: SummaryHostConfig {
                network_mode: definition.host_config.network_mode.clone(),
                annotations: definition.host_config.annotations.clone(),
            },
            network_settings: SummaryNetworkSettings {
                networks: self
                    .inner
                    .networks
                    .of(
                        &definition.wishes(&container.id, name),
                        &life.endpoints,
                        life.state.run().is_some(),
                    )
                    .into_iter()
                    .map(|(name, endpoint)| (name, Box::new(endpoint)))
                    .collect(),
            },
            mounts: definition
                .mounts
                .iter()
                .map(|m| m.point(|v| self.inner.volumes.data_dir(v).display().to_string()))
                .collect(),
            ..ContainerSummary::default()
        }
    }

    /// The image as it was asked for, as long as that still means it; else its id.
    fn shown_image(&self, definition: &Definition) -> String {
        let asked = &definition.config.image;
        match self.inner.images.resolve(asked) {
            Ok(image) if image.id.to_string() == definition.image_id => asked.clone(),
            _ => definition.image_id.clone(),
        }
    }

    /// Where the running containers are in the networks.
    pub fn attached(&self) -> Vec<Attached> {
        let attached = |container: Arc<Container>| {
            let view = container.view();
            if view.life.state.run().is_none() {
                return Vec::new();
            }
            let at = |network: &str, endpoint: Option<EndpointRecord>| Attached {
                network: network.to_owned(),
                container: container.id.clone(),
                name: view.name.to_string(),
                endpoint,
            };
            match view.definition.network_mode() {
                NetworkMode::Host => vec![at("host", None)],
                NetworkMode::None => vec![at("none", None)],
                _ => {
                    let endpoints = view.life.endpoints.iter();
                    endpoints.map(|e| at(&e.network, Some(e.clone()))).collect()
                }
            }
        };
        self.all().into_iter().flat_map(attached).collect()
    }
}

const STATUSES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

/// What filters mean, looked up once.
struct Meant {
    exited: Vec<i32>,
    /// Ids of images.
    ancestors: Vec<String>,
    /// Names of networks.
    networks: Vec<String>,
}

fn matches(row: &Row, filters: &Filters, meant: &Meant) -> bool {
    let config = &row.definition.config;
    let host = &row.definition.host_config;
    let state = &row.life.state;
    let any = |key: &str, test: &dyn Fn(&str) -> bool| {
        let mut wanted = filters.get(key).peekable();
        wanted.peek().is_none() || wanted.any(test)
    };
    if !filters.prefix_match("id", row.container.id.as_str())
        || !any("name", &|name| filters_name(name, &row.name))
        || !filters.labels_match("label", &config.labels)
        || !filters.labels_match("annotation", &host.annotations)
        || crate::volumes::excluded(filters, &config.labels)
        || !filters.exact_match("status", state.status())
    {
        return false;
    }
    if !meant.exited.is_empty() {
        let code = match state {
            State::Exited(e) | State::Dead(e) => Some(e.exit_code),
            _ => None,
        };
        if !code.is_some_and(|c| meant.exited.contains(&c)) {
            return false;
        }
    }
    if filters.contains("ancestor") && !meant.ancestors.contains(&row.definition.image_id) {
        return false;
    }
    let health = row.health.map_or("none", |(status, _)| status.name());
    if !any("health", &|wanted| wanted == health)
        || !any("is-task", &|t| matches!(t, "false" | "0"))
    {
        return false;
    }
    // By name, as they were settled; what has endpoints is on the networks of these.
    let on = |name: &str| match row.definition.network_mode() {
        NetworkMode::Host => name == "host",
        NetworkMode::None => name == "none",
        NetworkMode::Container(_) => false,
        NetworkMode::Bridge | NetworkMode::Named(_) => row.definition.endpoints.contains_key(name),
    };
    (!filters.contains("network") || meant.networks.iter().any(|name| on(name)))
        && any("volume", &|v| {
            row.definition.mounts.iter().any(|m| {
                m.destination == v
                    || match &m.kind {
                        MountKind::Volume { name, .. } => name == v,
                        MountKind::Bind { source, .. } => source == v,
                        MountKind::Image { reference, .. } => reference == v,
                        MountKind::Tmpfs { .. } => false,
                    }
            })
        })
        && any("publish", &|p| {
            port_matches(p, host.port_bindings.iter().flatten().map(|(k, _)| k))
        })
        && any("expose", &|p| port_matches(p, config.exposed_ports.keys()))
}

/// A name filter is a regular expression, and may have the leading slash.
fn filters_name(wanted: &str, name: &str) -> bool {
    let mut one = Filters::default();
    one.add("name", wanted);
    one.regex_match("name", name) || one.regex_match("name", &format!("/{name}"))
}

fn port_matches<'a>(wanted: &str, mut ports: impl Iterator<Item = &'a String>) -> bool {
    let (range, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return false;
    };
    ports.any(|p| {
        ports::parse_port(p)
            .is_ok_and(|(n, proto)| (first..=last).contains(&n) && proto.name() == protocol)
    })
}

/// The command as one line, its words as they are.
fn command(definition: &Definition) -> String {
    let words = definition.command();
    let quote = |w: &String| {
        if w.contains(' ') {
            format!("'{w}'")
        } else {
            w.clone()
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// `Up 5 minutes (Paused)`, `Exited (0) 3 hours ago`.
fn status_text(state: &State, health: Option<HealthStatus>, now: i64) -> String {
    let since = |at: i64| dhow_api::duration::human((now - at).max(0) / 1_000_000_000);
    match state {
        State::Running(run) => {
            let up = since(run.started_at);
            match health {
                None => format!("Up {up}"),
                Some(HealthStatus::Starting) => format!("Up {up} (health: starting)"),
                Some(status) => format!("Up {up} ({})", status.name()),
            }
        }
        State::Paused(run) => format!("Up {} (Paused)", since(run.started_at)),
        State::Restarting(e) => {
            format!("Restarting ({}) {} ago", e.exit_code, since(e.finished_at))
        }
        State::Removing(_) => "Removal In Progress".to_owned(),
        State::Dead(_) => "Dead".to_owned(),
        State::Created(_) => "Created".to_owned(),
        State::Exited(e) if e.finished_at == 0 => "Created".to_owned(),
        State::Exited(e) => format!("Exited ({}) {} ago", e.exit_code, since(e.finished_at)),
        State::Starting(_) if state.status() == "created" => "Created".to_owned(),
        State::Starting(origin) => {
            let e = origin.ended();
            let word = if state.status() == "restarting" {
                "Restarting"
            } else {
                "Exited"
            };
            format!("{word} ({}) {} ago", e.exit_code, since(e.finished_at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::state::{Ended, Run};

    #[test]
    fn statuses() {
        let run = Run {
            pid: 1,
            started_at: 0,
            last_finished_at: 0,
            stopping: false,
        };
        let now = 5_000_000_000;
        assert_eq!(
            status_text(&State::Running(run.clone()), None, now),
            "Up 5 seconds"
        );
        assert_eq!(
            status_text(&State::Paused(run), None, now),
            "Up 5 seconds (Paused)"
        );
        let ended = Ended {
            exit_code: 3,
            finished_at: 1_000_000_000,
            ..Ended::default()
        };
        assert_eq!(
            status_text(&State::Exited(ended), None, now),
            "Exited (3) 4 seconds ago"
        );
        assert_eq!(
            status_text(&State::Created(Ended::default()), None, now),
            "Created"
        );
    }
}
