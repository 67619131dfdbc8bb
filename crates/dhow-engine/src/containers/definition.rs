//! What a container was defined to be: the client's wishes merged with its image, settled once at creation
//! and kept in the store as JSON. Inspect shows it, and what inspect shows can be sent to create again.

use std::collections::BTreeMap;

use dhow_api::{ContainerConfig, EndpointSettings, HostConfig, MountPoint};
use serde::{Deserialize, Serialize};

use super::restart::RestartPolicy;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::networks::{BRIDGE, NetworkMode, Wishes};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// As merged with the image's.
    pub config: ContainerConfig,
    pub host_config: HostConfig,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// The chain id of the image's topmost layer, by which the layers are held; none for an empty image.
    pub layers: Option<String>,
    /// What was asked of each network that it is to be on, by the network's name.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    pub mounts: Vec<MountRecord>,
    /// Whether `endpoints` has all networks. Once the network of the mode was in it only where something was asked of it.
    #[serde(default)]
    pub endpoints_whole: bool,
}

/// A mount as it was settled at creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    pub kind: MountKind,
    pub destination: String,
    pub read_only: bool,
    /// The options as the client wrote them.
    pub mode: String,
    pub propagation: String,
    pub non_recursive: bool,
    /// Read-only also below, for sub-mounts.
    pub read_only_recursive: bool,
    /// It is to fail where the kernel can't do that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_forced: bool,
    /// Whose the files of the source's owner are in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    Bind {
        source: String,
        /// Make the directory if it is not there (`-v`, not `--mount`).
        create: bool,
    },
    Volume {
        name: String,
        /// Made for this container alone, and removed with it.
        anonymous: bool,
        no_copy: bool,
        subpath: String,
        /// What it is made with if it is not there.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, String>,
    },
    /// What an image has, to be read.
    Image {
        /// As the client wrote it.
        reference: String,
        id: String,
        /// As of [`Definition::layers`].
        layers: Option<String>,
        subpath: String,
    },
    Tmpfs {
        /// Mount options beside Docker's defaults.
        options: Vec<String>,
    },
}

impl MountRecord {
    pub fn point(&self, volume_source: impl Fn(&str) -> String) -> MountPoint {
        let mut point = MountPoint {
            destination: self.destination.clone(),
            mode: self.mode.clone(),
            rw: !self.read_only,
            propagation: self.propagation.clone(),
            ..MountPoint::default()
        };
        match &self.kind {
            MountKind::Bind { source, .. } => {
                point.kind = "bind".into();
                point.source = source.clone();
            }
            MountKind::Volume { name, .. } => {
                point.kind = "volume".into();
                point.name = name.clone();
                point.source = volume_source(name);
                point.driver = "local".into();
            }
            MountKind::Image { reference, id, .. } => {
                point.kind = "image".into();
                point.name = reference.clone();
                point.source = id.clone();
            }
            MountKind::Tmpfs { .. } => point.kind = "tmpfs".into(),
        }
        point
    }
}

impl Definition {
    /// A definition of the time when a container was on one network at most.
    pub fn make_endpoints_whole(&mut self) {
        if !std::mem::replace(&mut self.endpoints_whole, true)
            && self.network_mode() == NetworkMode::Bridge
        {
            self.endpoints.entry(BRIDGE.to_owned()).or_default();
        }
    }

    /// Whether its namespace is one that it has endpoints in.
    pub fn is_on_networks(&self) -> bool {
        matches!(
            self.network_mode(),
            NetworkMode::Bridge | NetworkMode::Named(_)
        )
    }

    pub fn network_mode(&self) -> NetworkMode {
        NetworkMode::parse(&self.host_config.network_mode)
    }

    /// What it asks of networks, under the container's name.
    pub fn wishes<'a>(&'a self, id: &'a ContainerId, name: &'a str) -> Wishes<'a> {
        Wishes {
            id,
            name,
            config: &self.config,
            host: &self.host_config,
            endpoints: &self.endpoints,
        }
    }

    /// The command line: the entrypoint and what follows it.
    pub fn command(&self) -> Vec<String> {
        let entrypoint = self.config.entrypoint.iter().flatten();
        let mut words: Vec<String> = entrypoint.cloned().collect();
        words.extend(self.config.cmd.iter().flatten().cloned());
        words
    }

    pub fn restart_policy(&self) -> Result<RestartPolicy> {
        parse_restart_policy(
            &self.host_config.restart_policy,
            self.host_config.auto_remove,
        )
    }

    /// The names of the volumes that it uses.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, bool)> {
        self.mounts.iter().filter_map(|m| match &m.kind {
            MountKind::Volume {
                name, anonymous, ..
            } => Some((name.as_str(), *anonymous)),
            _ => None,
        })
    }

    /// The images that are mounted: their ids, and of each the chain id of its topmost layer.
    pub fn mounted_images(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.mounts.iter().filter_map(|m| match &m.kind {
            MountKind::Image { id, layers, .. } => Some((id.as_str(), layers.as_deref())),
            _ => None,
        })
    }

    /// Whether paths of the host are mounted.
    pub fn has_binds(&self) -> bool {
        let is_bind = |m: &MountRecord| matches!(m.kind, MountKind::Bind { .. });
        self.mounts.iter().any(is_bind)
    }

    pub fn stop_signal(&self) -> i32 {
        super::signal::parse(&self.config.stop_signal).unwrap_or(super::signal::SIGTERM)
    }
}

pub fn parse_restart_policy(
    policy: &dhow_api::RestartPolicy,
    auto_remove: bool,
) -> Result<RestartPolicy> {
    let count = policy.maximum_retry_count;
    let parsed = match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => match u32::try_from(count) {
            Ok(count) => RestartPolicy::OnFailure(count),
            Err(_) => {
                return Err(EngineError::invalid(
                    "invalid restart policy: maximum retry count cannot be negative",
                ));
            }
        },
        other => {
            return Err(EngineError::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    if count != 0 && !matches!(parsed, RestartPolicy::OnFailure(_)) {
        return Err(EngineError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    if auto_remove && parsed != RestartPolicy::No {
        return Err(EngineError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(parsed)
}
