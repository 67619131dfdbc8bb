//! What a container will be: the client's request, merged with its image, checked and settled, before anything
//! is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_api::{ContainerConfig, ContainerCreateRequest, EndpointSettings, HostConfig};
use dhow_image::Image;
use dhow_oci::Platform;

use super::Containers;
use super::container::Container;
use super::definition::{Definition, MountKind, MountRecord};
use super::mounts::{bind, points};
use super::{logging, merge, spec, validate};
use crate::error::{EngineError, Result};
use crate::host;
use crate::id::ContainerId;
use crate::networks::{BRIDGE, NetworkMode, parse_mac};

/// What a container will be.
pub(super) struct Defined {
    pub definition: Definition,
    pub image: Arc<Image>,
    /// For the client.
    pub warnings: Vec<String>,
}

impl Containers {
    /// Checks the request and settles what the container will be. Nothing is made.
    pub(super) fn define(
        &self,
        id: &ContainerId,
        request: ContainerCreateRequest,
        platform: Option<&str>,
    ) -> Result<Defined> {
        let ContainerCreateRequest {
            mut config,
            host_config,
            networking_config,
            mac_address,
        } = request;
        let mut host = host_config.unwrap_or_default();
        if config.image.is_empty() {
            return Err(EngineError::invalid("no image specified"));
        }
        let image = self.inner.images.resolve(&config.image)?;
        let mut warnings = Vec::new();
        check_platform(&image, platform, &mut warnings)?;
        merge::merge(&mut config, &image.config.config);
        logging::settle(&mut host.log_config, &self.inner.settings.log);
        validate::check(&config, &host, &self.inner.host)?;
        self.settle_host(&mut host, &mut warnings);
        let asked_network = host.network_mode.clone();
        self.settle_shared(&mut host)?;
        self.settle_links(&mut host)?;
        self.settle_config(id, &mut config, &host)?;

        let inherited = self.inherited_mounts(&host)?;
        let mut mounts = points::settle(&config, &host, inherited)?;
        for mount in &mut mounts {
            if let MountKind::Image {
                reference,
                id,
                layers,
                ..
            } = &mut mount.kind
                && id.is_empty()
            {
                // To clients, "not found" is about the container's own image.
                let image = self.inner.images.resolve(reference);
                let image = image.map_err(|e| EngineError::invalid(e.to_string()))?;
                *id = image.id.to_string();
                *layers = image.chain.last().map(ToString::to_string);
            }
        }
        // A container is on the network of its mode, where that is one, and on those with settings.
        let mode = NetworkMode::parse(&host.network_mode);
        let first = match &mode {
            NetworkMode::Named(name) => {
                // The beginning of an id may be another's by the next start.
                host.network_mode = self.inner.networks.settled_mode(name);
                self.inner.networks.settled_name(name)
            }
            _ => host.network_mode.clone(),
        };
        let mut endpoints: BTreeMap<String, EndpointSettings> = networking_config
            .map(|n| n.endpoints_config)
            .unwrap_or_default()
            .into_iter()
            .map(|(name, settings)| {
                let name = match name {
                    name if name == "default" => "bridge".to_owned(),
                    name if name == asked_network => first.clone(),
                    name => self.inner.networks.settled_name(&name),
                };
                (name, settings.unwrap_or_default())
            })
            .collect();
        if matches!(mode, NetworkMode::Bridge | NetworkMode::Named(_)) {
            endpoints.entry(first.clone()).or_default();
        }
        check_endpoints(&endpoints, &mode, &first)?;
        if let Some(mac) = mac_address.filter(|m| !m.is_empty()) {
            let settings = endpoints.entry(first).or_default();
            if !settings.mac_address.is_empty() && settings.mac_address != mac {
                return Err(EngineError::invalid(
                    "conflicting MAC addresses: the container-wide MAC address and that of its endpoint differ",
                ));
            }
            settings.mac_address = mac;
        }
        for settings in endpoints.values() {
            if !settings.mac_address.is_empty() {
                parse_mac(&settings.mac_address)?;
            }
        }
        let definition = Definition {
            config,
            host_config: host,
            image_id: image.id.to_string(),
            layers: image.chain.last().map(ToString::to_string),
            endpoints,
            mounts,
            endpoints_whole: true,
        };
        if definition.command().is_empty() {
            return Err(EngineError::invalid("no command specified"));
        }
        Ok(Defined {
            definition,
            image,
            warnings,
        })
    }

    /// Puts Docker's defaults where inspect shows them.
    fn settle_host(&self, host: &mut HostConfig, warnings: &mut Vec<String>) {
        let defaults = self.defaults();
        let limits = &mut host.resources;
        // Groups of version 2 can't.
        if self.inner.host.cgroup_version == 1 {
            limits.oom_kill_disable.get_or_insert(false);
        }
        if limits.cgroup_parent.is_empty() {
            limits.cgroup_parent.clone_from(&defaults.cgroup_parent);
        }
        if limits.memory > 0 && limits.memory_swap != -1 && !self.inner.host.swap_limit {
            limits.memory_swap = -1;
            warnings.push(
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
                    .to_owned(),
            );
        }
        if limits.memory > 0 && limits.memory_swap == 0 {
            limits.memory_swap = limits.memory.saturating_mul(2);
        }
        if host.network_mode.is_empty() || host.network_mode == "default" {
            host.network_mode = "bridge".to_owned();
        }
        if host.ipc_mode.is_empty() {
            host.ipc_mode.clone_from(&defaults.ipc_mode);
        }
        if host.cgroupns_mode.is_empty()
            && let Some(mode) = &defaults.cgroupns_mode
        {
            host.cgroupns_mode.clone_from(mode);
        }
        if host.cgroupns_mode.is_empty() {
            let private = spec::namespaces::has_own_cgroup_namespace(host, &self.inner.host);
            host.cgroupns_mode = if private { "private" } else { "host" }.to_owned();
        }
        if host.shm_size == 0 {
            host.shm_size = defaults.shm_size;
        }
        if host.runtime.is_empty() {
            host.runtime = "runc".to_owned();
        }
        if host.restart_policy.name.is_empty() {
            host.restart_policy.name = "no".to_owned();
        }
        for default in &defaults.ulimits {
            let own = host.resources.ulimits.get_or_insert_default();
            if !own.iter().any(|limit| limit.name == default.name) {
                own.push(default.clone());
            }
        }
        // What Docker's inspect shows; there is no SELinux here.
        let shared = host.ipc_mode == "host" || host.pid_mode == "host" || host.privileged;
        let options = host.security_opt.get_or_insert_default();
        if shared && !options.iter().any(|o| o.split('=').next() == Some("label")) {
            options.push("label=disable".to_owned());
        }
        if options.is_empty() {
            host.security_opt = None;
        }
        let unmasked = host.privileged
            || host
                .security_opt
                .iter()
                .flatten()
                .any(|o| o == "systempaths=unconfined");
        if !unmasked {
            host.masked_paths
                .get_or_insert_with(spec::security::default_masked_paths);
            host.readonly_paths
                .get_or_insert_with(spec::security::default_readonly_paths);
        }
    }

    /// Whose namespaces are shared is held by id: names change, and a name may become another's.
    fn settle_shared(&self, host: &mut HostConfig) -> Result<()> {
        for mode in [
            &mut host.network_mode,
            &mut host.pid_mode,
            &mut host.ipc_mode,
        ] {
            if let Some(name) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.find_named(name)?.id);
            }
        }
        Ok(())
    }

    /// A container that a definition names. One that is not there makes it a bad one: to clients, "not found"
    /// is about the image.
    fn find_named(&self, name: &str) -> Result<Arc<Container>> {
        self.inner.table.find(name).map_err(|e| match e {
            EngineError::NoSuchContainer(_) => EngineError::invalid(e.to_string()),
            e => e,
        })
    }

    fn settle_config(
        &self,
        id: &ContainerId,
        config: &mut ContainerConfig,
        host: &HostConfig,
    ) -> Result<()> {
        match NetworkMode::parse(&host.network_mode) {
            NetworkMode::Container(_) if !config.hostname.is_empty() => {
                return Err(EngineError::invalid(
                    "conflicting options: hostname and the network mode",
                ));
            }
            NetworkMode::Container(_) => {}
            NetworkMode::Host if config.hostname.is_empty() => {
                config.hostname = host::name();
            }
            _ if config.hostname.is_empty() => {
                if host.uts_mode == "host" {
                    config.hostname = host::name();
                } else {
                    id.short().clone_into(&mut config.hostname);
                }
            }
            _ => {}
        }
        if !config.working_dir.is_empty() {
            config.working_dir = bind::clean(&config.working_dir);
        }
        Ok(())
    }

    /// The mounts of the containers of `VolumesFrom`: `name[:ro|rw]`.
    fn inherited_mounts(&self, host: &HostConfig) -> Result<Vec<MountRecord>> {
        let mut inherited = Vec::new();
        for from in host.volumes_from.iter().flatten() {
            if from.is_empty() {
                return Err(EngineError::invalid(
                    "volumes-from specification cannot be an empty string",
                ));
            }
            let (name, mode) = from.split_once(':').unwrap_or((from, ""));
            let read_only = bind::read_inherited(mode)?;
            let other = self.find_named(name)?;
            for mount in &other.definition().mounts {
                let mut mount = mount.clone();
                if read_only && !mount.read_only {
                    mount.read_only = true;
                    mount.read_only_recursive = true;
                }
                if let MountKind::Volume { anonymous, .. } = &mut mount.kind {
                    // It goes with the container that it was made for.
                    *anonymous = false;
                }
                inherited.push(mount);
            }
        }
        Ok(inherited)
    }
}

/// Refuses an image of another platform than was asked for, and warns of one that is not this machine's.
fn check_platform(image: &Image, platform: Option<&str>, warnings: &mut Vec<String>) -> Result<()> {
    let has = image.config.platform();
    if let Some(wanted) = platform.filter(|p| !p.is_empty()) {
        let wanted: Platform = wanted
            .parse()
            .map_err(|e: dhow_oci::platform::PlatformError| EngineError::invalid(e.to_string()))?;
        if !wanted.matcher().matches(&has) {
            let tag = image.repo_tags().first().cloned();
            return Err(EngineError::OtherPlatform {
                image: tag.unwrap_or_else(|| image.id.to_string()),
                has: has.to_string(),
                wanted: wanted.to_string(),
            });
        }
    } else if !Platform::host().matcher().matches(&has) {
        warnings.push(format!(
            "The requested image's platform ({has}) does not match the detected host platform ({}) and no specific platform was requested",
            Platform::host()
        ));
    }
    Ok(())
}

/// Only those on networks of a client's making can be on several, and choose addresses and names there.
pub(super) fn check_endpoints(
    endpoints: &BTreeMap<String, EndpointSettings>,
    mode: &NetworkMode,
    first: &str,
) -> Result<()> {
    for (network, settings) in endpoints {
        let is_first = network == first;
        if !is_first && !matches!(mode, NetworkMode::Bridge | NetworkMode::Named(_)) {
            return Err(EngineError::invalid(format!(
                "conflicting options: the container's network is {first}, and settings for {network} were given"
            )));
        }
        if network != BRIDGE && matches!(NetworkMode::parse(network), NetworkMode::Named(_)) {
            continue;
        }
        let addresses = settings.ipam_config.as_ref();
        if addresses.is_some_and(|a| !a.ipv4_address.is_empty() || !a.ipv6_address.is_empty()) {
            return Err(EngineError::invalid(format!(
                "invalid config for network {network}: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"
            )));
        }
        if settings.aliases.as_ref().is_some_and(|a| !a.is_empty()) {
            return Err(EngineError::invalid(format!(
                "invalid config for network {network}: invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks"
            )));
        }
    }
    Ok(())
}
