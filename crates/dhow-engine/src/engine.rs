//! The engine: one handle to everything below the API.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use dhow_api::Actor;
use dhow_image::Images;
use dhow_net::Network;
use dhow_runtime::Spawner;
use dhow_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::EngineConfig;
use crate::containers::container::Container;
use crate::containers::records;
use crate::containers::table::Registry;
use crate::error::{EngineError, Result};
use crate::events::EventBus;
use crate::execs::Execs;
use crate::host::HostFacts;
use crate::recovery::RecoveryReport;
use crate::storage::DataRootLock;
use crate::storage::Trash;
use crate::volumes::Volumes;

/// A handle; clones share one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: EngineConfig,
    pub store: Store,
    pub images: Images,
    pub distribution: dhow_distribution::Client,
    pub network: Network,
    pub spawner: Spawner,
    pub events: EventBus,
    pub containers: Registry,
    pub execs: Execs,
    pub volumes: Volumes,
    pub host: HostFacts,
    pub trash: Trash,
    /// This data-root's id, made once.
    pub id: String,
    /// When this engine was opened, nanoseconds since the epoch.
    pub opened: i64,
    /// Whatever runs beside the requests: one task a running container, and restarts that are due.
    pub tasks: TaskTracker,
    pub closing: CancellationToken,
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
        let lock = DataRootLock::take(&config.data_root)?;
        let host = HostFacts::detect().map_err(EngineError::io("reading the machine's facts"))?;
        let [images_1, images_2] = Images::schema();
        let migrations = [images_1, records::SCHEMA_1, images_2];
        let store = Store::open(&config.data_root.join("metadata.db"), &migrations)?;
        let images = Images::open(&config.data_root, store.clone())?;
        let distribution = dhow_distribution::Client::new(config.distribution.clone())?;
        let (trash, trashed) =
            Trash::open(config.trash_dir()).map_err(EngineError::io("opening the trash"))?;
        let volumes = Volumes::new(config.volumes_dir(), records::volumes(&store).await?);
        let stored = records::containers(&store).await?;
        let network = Network::open(config.net.clone(), crate::recovery::live_endpoints(&stored))
            .await
            .map_err(|e| EngineError::System(e.to_string()))?;
        let id = records::fact(&store, "id", crate::id::random_uuid()?).await?;
        let engine = Engine {
            inner: Arc::new(Inner {
                config,
                store,
                images,
                distribution,
                network,
                spawner,
                events: EventBus::default(),
                containers: Registry::default(),
                execs: Execs::default(),
                volumes,
                host,
                trash,
                id,
                opened: dhow_api::time::now(),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
                _lock: lock,
            }),
        };
        let mut report = engine.recover(stored).await?;
        report.trashed += trashed;
        Ok((engine, report))
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

    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// Ends the engine's own work. Containers run on, and the next engine takes them over.
    pub async fn shutdown(self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Tells that a container has come to its network, or left it.
    pub(crate) fn network_event(&self, container: &Container, action: &str) {
        use crate::containers::definition::NetworkMode;
        let (name, driver) = match container.definition().network_mode() {
            NetworkMode::Bridge => ("bridge", "bridge"),
            NetworkMode::Host => ("host", "host"),
            NetworkMode::None => ("none", "null"),
            NetworkMode::Container(_) | NetworkMode::Named(_) => return,
        };
        let attributes = [
            ("container".to_owned(), container.id.to_string()),
            ("name".to_owned(), name.to_owned()),
            ("type".to_owned(), driver.to_owned()),
        ];
        self.events().publish(
            "network",
            action,
            Actor {
                id: self.network_id(name),
                attributes: attributes.into(),
            },
        );
    }

    /// Publishes an event about a container, with the attributes that Docker gives it.
    pub(crate) fn container_event(
        &self,
        container: &Container,
        action: impl Into<String>,
        more: &[(&str, &str)],
    ) {
        let definition = container.definition();
        let mut attributes: BTreeMap<String, String> = definition.config.labels.clone();
        attributes.insert("image".into(), definition.config.image.clone());
        attributes.insert("name".into(), container.name().to_string());
        for (key, value) in more {
            attributes.insert((*key).to_owned(), (*value).to_owned());
        }
        self.events().publish(
            "container",
            action,
            Actor {
                id: container.id.to_string(),
                attributes,
            },
        );
    }
}

fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    // Passable, because a container's own user has to reach its root below it; not readable.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))
}
