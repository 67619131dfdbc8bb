//! The engine: it opens the parts, wires them, and hands them out. Nothing below imports it.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, RwLock};

use dhow_api::Network;
use dhow_runtime::{Spawner, apparmor};
use dhow_store::Store;

use crate::background::{Background, blocking};
use crate::config::{ContainerDefaults, EngineConfig};
use crate::containers::state::State;
use crate::containers::{self, Containers, Notices};
use crate::error::{EngineError, Result};
use crate::events::EventBus;
use crate::execs::Execs;
use crate::files::Files;
use crate::host::HostFacts;
use crate::images::Images;
use crate::info::EngineInfo;
use crate::networks::Networks;
use crate::recovery::{self, Recovery, RecoveryReport};
use crate::storage::{DataRootLock, Trash, schema};
use crate::streams::Streams;
use crate::supervisor::Supervisor;
use crate::volumes::Volumes;

/// A handle; clones share one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    images: Images,
    distribution: dhow_distribution::Client,
    networks: Networks,
    volumes: Volumes,
    containers: Containers,
    execs: Execs,
    files: Files,
    streams: Streams,
    events: EventBus,
    host: Arc<HostFacts>,
    /// This data-root's id, made once.
    id: String,
    background: Background,
    _lock: DataRootLock,
}

impl Engine {
    /// Takes the data-root, and takes over what an earlier daemon left there: running containers, ended
    /// ones, and what it had begun.
    pub async fn open(config: EngineConfig, spawner: Spawner) -> Result<(Engine, RecoveryReport)> {
        for dir in [
            config.data_root.clone(),
            config.containers_dir(),
            config.volumes_dir(),
            config.exec_root.clone(),
        ] {
            make_private_dir(&dir).map_err(EngineError::io(dir.display()))?;
        }
        let volumes_dir = config.volumes_dir();
        close_to_others(&volumes_dir).map_err(EngineError::io(volumes_dir.display()))?;
        let lock = DataRootLock::take(&config.data_root)?;
        let host = HostFacts::detect().map_err(EngineError::io("reading the machine's facts"))?;
        let host = Arc::new(host);
        if host.apparmor
            && let Err(e) = apparmor::load_default()
        {
            // As in Docker, containers are then confined by what else there is.
            tracing::warn!(error = %e, "containers are not confined by AppArmor");
        }
        let schemas = [dhow_image::Images::schema(), schema::SCHEMA];
        let store = Store::open(&config.data_root.join("metadata.db"), &schemas)?;
        let stored_images = dhow_image::Images::open(&config.data_root, store.clone())?;
        let distribution = dhow_distribution::Client::new(config.distribution.clone())?;
        let (trash, trashed) =
            Trash::open(config.trash_dir()).map_err(EngineError::io("opening the trash"))?;
        close_to_others(&config.trash_dir()).map_err(EngineError::io("closing the trash"))?;
        let trash = Arc::new(trash);
        let events = EventBus::open(config.events_dir());
        let background = Background::default();
        let volumes = Volumes::open(
            config.volumes_dir(),
            store.clone(),
            events.clone(),
            trash.clone(),
        )
        .await?;
        let stored = containers::records::containers(&store).await?;
        let id = schema::fact(&store, "id", crate::id::random_uuid()?).await?;
        events.set_daemon(&id, &crate::host::name());
        let networks = Networks::open(
            config.net.clone(),
            config.dns.clone(),
            config.network_options.clone(),
            &recovery::live(&stored),
            events.clone(),
            store.clone(),
            id.clone(),
        )
        .await?;
        let (notices, told) = Notices::new();
        let containers = Containers::new(containers::Parts {
            settings: containers::Settings {
                dir: config.containers_dir(),
                exec_root: config.exec_root.clone(),
                log: config.log.clone(),
                defaults: RwLock::new(Arc::new(config.defaults.clone())),
            },
            store,
            images: stored_images.clone(),
            networks: networks.clone(),
            volumes: volumes.clone(),
            spawner,
            events: events.clone(),
            host: host.clone(),
            trash,
            background: background.clone(),
            notices: notices.clone(),
        });
        let execs = Execs::new(containers.clone(), background.clone());
        let supervisor = Supervisor::new(containers.clone(), execs.clone(), background.clone());
        supervisor.run(told);
        let recovery = Recovery::new(containers.clone(), supervisor, notices, background.clone());
        let mut report = recovery.run(stored).await?;
        report.trashed += trashed;
        let engine = Engine {
            inner: Arc::new(Inner {
                config,
                images: Images::new(stored_images, containers.clone(), events.clone()),
                distribution,
                networks,
                volumes,
                files: Files::new(containers.clone()),
                streams: Streams::new(containers.clone(), background.clone()),
                containers,
                execs,
                events,
                host,
                id,
                background,
                _lock: lock,
            }),
        };
        Ok((engine, report))
    }

    pub fn containers(&self) -> &Containers {
        &self.inner.containers
    }

    pub fn execs(&self) -> &Execs {
        &self.inner.execs
    }

    pub fn files(&self) -> &Files {
        &self.inner.files
    }

    pub fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub fn volumes(&self) -> &Volumes {
        &self.inner.volumes
    }

    pub fn networks(&self) -> &Networks {
        &self.inner.networks
    }

    pub fn images(&self) -> &Images {
        &self.inner.images
    }

    /// The registry's client.
    pub fn distribution(&self) -> &dhow_distribution::Client {
        &self.inner.distribution
    }

    pub fn events(&self) -> &EventBus {
        &self.inner.events
    }

    /// Changes what containers without settings of their own have from now on.
    pub fn set_container_defaults(&self, defaults: ContainerDefaults) {
        self.inner.containers.set_defaults(defaults);
    }

    /// How many health checks there were, and how many of them failed.
    pub fn health_checks(&self) -> (u64, u64) {
        self.inner.execs.health_checks()
    }

    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// A network with the running containers that are on it.
    pub fn network(&self, name: &str) -> Result<Network> {
        self.networks().get(name, self.containers().attached())
    }

    /// Counts and facts.
    pub fn info(&self) -> EngineInfo {
        let host = &self.inner.host;
        let mut info = EngineInfo {
            id: self.inner.id.clone(),
            images: self.inner.images.store().count() as u64,
            cgroup_version: host.cgroup_version,
            apparmor: host.apparmor,
            cpus: host.cpus,
            memory: host.memory,
            swap_limit: host.swap_limit,
            event_listeners: self.inner.events.listeners() as u64,
            ..EngineInfo::default()
        };
        for container in self.inner.containers.all() {
            info.containers += 1;
            match container.state() {
                State::Running(_) | State::Restarting(_) => info.running += 1,
                State::Paused(_) => info.paused += 1,
                _ => info.stopped += 1,
            }
        }
        info
    }

    /// Ends the engine's own work. Containers run on, and the next engine takes them over.
    pub async fn shutdown(self) {
        self.inner.background.end().await;
        let events = self.inner.events.clone();
        if let Err(e) = blocking(move || events.flush()).await {
            tracing::warn!(error = %e, "the last events were not kept");
        }
    }
}

/// Volumes are mounted before a container's own user is there. Of the host's users none gets in: what a container
/// leaves in a volume may be a program that runs as root.
fn close_to_others(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    // Passable, because a container's own user has to reach its root below it; not readable.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))
}
