//! Making a container: everything is checked and settled before anything is made, and what was made is
//! undone if a later step fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_api::{
    ContainerConfig, ContainerCreateRequest, ContainerCreateResponse, EndpointSettings, HostConfig,
};
use dhow_image::{Image, Platform};

use super::mounts::points as mount_points;
use super::{merge, records, spec, validate};
use crate::containers::container::{Container, Life};
use crate::containers::definition::{Definition, MountKind, MountRecord, NetworkMode};
use crate::containers::state::{Ended, State};
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::names;
use crate::rootfs::LayeredRoot;
use crate::volumes::copy_up;

/// How often a made-up name may be in use already.
const NAME_ATTEMPTS: u32 = 8;

impl Engine {
    /// Makes a container, and returns once it would survive the daemon.
    pub async fn create(
        &self,
        name: Option<&str>,
        request: ContainerCreateRequest,
        platform: Option<&str>,
    ) -> Result<ContainerCreateResponse> {
        let id = ContainerId::random()?;
        let mut warnings = Vec::new();
        let (definition, image) = self.define(&id, request, platform, &mut warnings)?;
        let name = self.reserve_name(name, &id)?;
        let release_name = scopeguard(|| self.inner.containers.release(&name, &id));

        let dir = self.inner.config.containers_dir().join(id.as_str());
        let container = Arc::new(Container::new(
            id.clone(),
            dhow_api::time::now(),
            dir,
            &name,
            definition,
            Life {
                state: State::Created(Ended::default()),
                endpoint: None,
                restart_count: 0,
            },
        ));
        if let Err(e) = self.make(&container, &image).await {
            if let Err(e) = self.inner.trash.discard(&container.dir) {
                tracing::warn!(container = %container.id, error = %e, "its directory is left for the next start to remove");
            }
            return Err(e);
        }
        release_name.disarm();
        self.inner.containers.insert(container.clone());
        self.container_event(&container, "create", &[]);
        Ok(ContainerCreateResponse {
            id: id.to_string(),
            warnings,
        })
    }

    /// Checks the request and settles what the container will be. Nothing is made.
    fn define(
        &self,
        id: &ContainerId,
        request: ContainerCreateRequest,
        platform: Option<&str>,
        warnings: &mut Vec<String>,
    ) -> Result<(Definition, Arc<Image>)> {
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
        check_platform(&image, platform, warnings)?;
        merge::merge(&mut config, &image.config.config);
        validate::check(&config, &host, &self.inner.host)?;
        self.settle_host(&mut host, warnings);
        self.settle_config(id, &mut config, &host)?;

        let inherited = self.inherited_mounts(&host)?;
        let mounts = mount_points::settle(&config, &host, inherited)?;
        let mut endpoints: BTreeMap<String, EndpointSettings> = networking_config
            .map(|n| n.endpoints_config)
            .unwrap_or_default()
            .into_iter()
            .map(|(name, settings)| {
                let name = if name == "default" {
                    "bridge".to_owned()
                } else {
                    name
                };
                (name, settings.unwrap_or_default())
            })
            .collect();
        check_endpoints(&endpoints, &host)?;
        if let Some(mac) = mac_address.filter(|m| !m.is_empty()) {
            let settings = endpoints.entry(host.network_mode.clone()).or_default();
            if !settings.mac_address.is_empty() && settings.mac_address != mac {
                return Err(EngineError::invalid(
                    "conflicting MAC addresses: the container-wide MAC address and that of its endpoint differ",
                ));
            }
            settings.mac_address = mac;
        }
        for settings in endpoints.values() {
            if !settings.mac_address.is_empty() {
                crate::networks::sandbox::parse_mac(&settings.mac_address)?;
            }
        }
        let definition = Definition {
            config,
            host_config: host,
            image_id: image.id.to_string(),
            layers: image.chain.last().map(ToString::to_string),
            endpoints,
            mounts,
        };
        if definition.command().is_empty() {
            return Err(EngineError::invalid("no command specified"));
        }
        Ok((definition, image))
    }

    /// Puts Docker's defaults where inspect shows them.
    fn settle_host(&self, host: &mut HostConfig, warnings: &mut Vec<String>) {
        let limits = &mut host.resources;
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
            host.ipc_mode = "private".to_owned();
        }
        if host.cgroupns_mode.is_empty() {
            let private = spec::namespaces::has_own_cgroup_namespace(host, &self.inner.host);
            host.cgroupns_mode = if private { "private" } else { "host" }.to_owned();
        }
        if host.shm_size == 0 {
            host.shm_size = spec::mounts::DEFAULT_SHM_SIZE;
        }
        if host.runtime.is_empty() {
            host.runtime = "runc".to_owned();
        }
        if host.restart_policy.name.is_empty() {
            host.restart_policy.name = "no".to_owned();
        }
        if host.log_config.kind.is_empty() {
            host.log_config
                .kind
                .clone_from(&self.inner.config.log.driver);
            if host.log_config.config.is_empty() {
                host.log_config.config = self.inner.config.log.options.clone();
            }
        }
        for default in &self.inner.config.ulimits {
            let own = host.resources.ulimits.get_or_insert_default();
            if !own.iter().any(|limit| limit.name == default.name) {
                own.push(default.clone());
            }
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

    fn settle_config(
        &self,
        id: &ContainerId,
        config: &mut ContainerConfig,
        host: &HostConfig,
    ) -> Result<()> {
        match NetworkMode::parse(&host.network_mode) {
            NetworkMode::Container(name) => {
                if !config.hostname.is_empty() {
                    return Err(EngineError::invalid(
                        "conflicting options: hostname and the network mode",
                    ));
                }
                self.inner.containers.find(&name)?;
            }
            NetworkMode::Host if config.hostname.is_empty() => {
                config.hostname = crate::networks::sandbox::host_name();
            }
            _ if config.hostname.is_empty() => {
                if host.uts_mode == "host" {
                    config.hostname = crate::networks::sandbox::host_name();
                } else {
                    id.short().clone_into(&mut config.hostname);
                }
            }
            _ => {}
        }
        if !config.working_dir.is_empty() {
            config.working_dir = crate::containers::mounts::bind::clean(&config.working_dir);
        }
        Ok(())
    }

    /// The mounts of the containers of `VolumesFrom`: `name[:ro|rw]`.
    fn inherited_mounts(&self, host: &HostConfig) -> Result<Vec<MountRecord>> {
        let mut inherited = Vec::new();
        for from in host.volumes_from.iter().flatten() {
            let (name, mode) = from.split_once(':').unwrap_or((from, "rw"));
            let read_only = match mode {
                "ro" => true,
                "rw" | "z" | "Z" => false,
                _ => return Err(EngineError::invalid(format!("invalid mode: {mode}"))),
            };
            let other = self.inner.containers.find(name)?;
            for mount in &other.definition().mounts {
                let mut mount = mount.clone();
                mount.read_only |= read_only;
                if let MountKind::Volume { anonymous, .. } = &mut mount.kind {
                    // It goes with the container that it was made for.
                    *anonymous = false;
                }
                inherited.push(mount);
            }
        }
        Ok(inherited)
    }

    fn reserve_name(&self, wanted: Option<&str>, id: &ContainerId) -> Result<String> {
        if let Some(name) = wanted.filter(|n| !n.is_empty()) {
            let bare = name.strip_prefix('/').unwrap_or(name);
            if !names::is_valid(bare) {
                return Err(EngineError::invalid(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )));
            }
            self.inner.containers.reserve(bare, id)?;
            return Ok(bare.to_owned());
        }
        for attempt in 0..NAME_ATTEMPTS {
            let name = names::random(attempt)?;
            if self.inner.containers.reserve(&name, id).is_ok() {
                return Ok(name);
            }
        }
        // No word fits: the id is a name that nobody has.
        let name = id.short().to_owned();
        self.inner.containers.reserve(&name, id)?;
        Ok(name)
    }

    /// Directories, volumes and the record, in that order: a record without its directory does not exist.
    async fn make(&self, container: &Arc<Container>, image: &Arc<Image>) -> Result<()> {
        make_dirs(container).map_err(EngineError::io(container.dir.display()))?;
        let definition = container.definition();
        let pin = match definition.layers.as_deref() {
            Some(_) => Some(self.inner.images.pin(&image.id)?),
            None => None,
        };
        let lower = pin.as_ref().map(|p| p.lower_dirs()).unwrap_or_default();
        container.view().pin = pin;
        self.make_volumes(&definition, lower).await?;
        records::insert_container(&self.inner.store, container).await
    }

    /// Makes the volumes that are not there yet, and fills new ones with what the image has in their place.
    async fn make_volumes(
        &self,
        definition: &Definition,
        lower: Vec<std::path::PathBuf>,
    ) -> Result<()> {
        for mount in &definition.mounts {
            let MountKind::Volume {
                name,
                anonymous,
                no_copy,
                ..
            } = &mount.kind
            else {
                continue;
            };
            let labels = if *anonymous {
                [("com.docker.volume.anonymous".to_owned(), String::new())].into()
            } else {
                BTreeMap::new()
            };
            self.ensure_volume(name, labels, *anonymous).await?;
            if *no_copy {
                continue;
            }
            let root = LayeredRoot::new(lower.clone());
            let place = std::path::PathBuf::from(&mount.destination);
            let target = self.inner.volumes.data_dir(name);
            let what = format!("filling volume {name}");
            tokio::task::spawn_blocking(move || copy_up::fill(&root, &place, &target))
                .await
                .map_err(|e| EngineError::System(e.to_string()))?
                .map_err(EngineError::io(what))?;
        }
        Ok(())
    }
}

fn make_dirs(container: &Container) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o710).create(&container.dir)?;
    std::fs::DirBuilder::new()
        .mode(0o755)
        .create(container.upper_dir())?;
    private.create(container.work_dir())
}

/// Refuses an image of another platform than was asked for, and warns of one that is not this machine's.
fn check_platform(image: &Image, platform: Option<&str>, warnings: &mut Vec<String>) -> Result<()> {
    let has = image.config.platform();
    if let Some(wanted) = platform.filter(|p| !p.is_empty()) {
        let wanted: Platform =
            wanted
                .parse()
                .map_err(|e: dhow_image::platform::PlatformError| {
                    EngineError::invalid(e.to_string())
                })?;
        if !wanted.matcher().matches(&has) {
            return Err(EngineError::NotFound(format!(
                "image with reference {} was found but its platform ({has}) does not match the specified platform ({wanted})",
                image
                    .repo_tags()
                    .first()
                    .cloned()
                    .unwrap_or_else(|| image.id.to_string())
            )));
        }
    } else if !Platform::host().matcher().matches(&has) {
        warnings.push(format!(
            "The requested image's platform ({has}) does not match the detected host platform ({}) and no specific platform was requested",
            Platform::host()
        ));
    }
    Ok(())
}

/// An endpoint's settings must be for the network that the container is on.
fn check_endpoints(
    endpoints: &BTreeMap<String, EndpointSettings>,
    host: &HostConfig,
) -> Result<()> {
    for (network, settings) in endpoints {
        if *network != host.network_mode {
            return Err(EngineError::invalid(format!(
                "conflicting options: the container's network is {}, and settings for {network} were given",
                host.network_mode
            )));
        }
        let addresses = settings.ipam_config.as_ref();
        if addresses.is_some_and(|a| !a.ipv4_address.is_empty() || !a.ipv6_address.is_empty()) {
            return Err(EngineError::invalid(
                "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
            ));
        }
        if settings.aliases.as_ref().is_some_and(|a| !a.is_empty()) {
            return Err(EngineError::invalid(
                "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks",
            ));
        }
    }
    Ok(())
}

/// Runs its closure unless it was disarmed.
pub(crate) struct Guard<F: FnOnce()>(Option<F>);

pub(crate) fn scopeguard<F: FnOnce()>(undo: F) -> Guard<F> {
    Guard(Some(undo))
}

impl<F: FnOnce()> Guard<F> {
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}
