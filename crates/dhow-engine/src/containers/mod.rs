//! Containers: what they are, what state they are in, and what is done with them.
//!
//! What follows from an end, a failed start or a due restart is not done here: it is told to the supervisor
//! as a [`Notice`].

mod clear;
mod connect;
pub mod container;
mod create;
mod define;
pub mod definition;
mod departed;
mod device_requests;
pub mod health;
pub mod image_config;
mod inspect;
mod links;
pub mod list;
pub mod logging;
pub mod merge;
mod mounted;
mod mounts;
mod notice;
mod partners;
mod pause;
mod prepare;
mod prune;
mod publish;
pub mod records;
pub mod remove;
mod rename;
pub mod restart;
pub mod signal;
pub mod snapshot;
pub mod spec;
pub mod start;
pub mod state;
pub mod stop;
mod table;
mod told_names;
mod turn;
mod update;
mod usage;
pub mod user;
pub mod validate;
pub mod view;
mod views;
pub mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use dhow_api::Actor;
use dhow_runtime::Spawner;
use dhow_runtime::cgroup::Cgroup;
use dhow_store::Store;

use crate::background::Background;
use crate::config::{ContainerDefaults, LogDefaults};
use crate::error::{EngineError, Result};
use crate::events::EventBus;
use crate::host::HostFacts;
use crate::networks::Networks;
use crate::storage::Trash;
use crate::volumes::Volumes;

use container::Container;
use definition::Definition;
use departed::Departed;
pub use notice::{Notice, Notices};
pub use spec::security::check_profile as check_seccomp_profile;
use table::Table;

/// All containers, and what is done with them. A handle; clones are the same.
#[derive(Clone)]
pub struct Containers {
    inner: Arc<Inner>,
}

/// What containers are given to work with.
pub struct Parts {
    pub settings: Settings,
    pub store: Store,
    pub images: dhow_image::Images,
    pub networks: Networks,
    pub volumes: Volumes,
    pub spawner: Spawner,
    pub events: EventBus,
    pub host: Arc<HostFacts>,
    pub trash: Arc<Trash>,
    pub background: Background,
    pub notices: Notices,
}

/// What the daemon's configuration says of containers.
pub struct Settings {
    /// Each container's directory is below this one.
    pub dir: PathBuf,
    /// The shims' sockets.
    pub exec_root: PathBuf,
    pub log: LogDefaults,
    pub defaults: RwLock<Arc<ContainerDefaults>>,
}

struct Inner {
    table: Table,
    departed: Departed,
    parts: Parts,
}

impl std::ops::Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Containers {
    pub fn new(parts: Parts) -> Containers {
        Containers {
            inner: Arc::new(Inner {
                table: Table::default(),
                departed: Departed::default(),
                parts,
            }),
        }
    }

    /// By full id, by name with or without its slash, or by the beginning of an id that is no other's.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>> {
        self.inner.table.find(reference)
    }

    /// Tells the supervisor.
    pub fn notify(&self, notice: Notice) {
        self.inner.notices.send(notice);
    }

    pub fn all(&self) -> Vec<Arc<Container>> {
        self.inner.table.all()
    }

    /// Enters a container that was stored by an earlier daemon.
    pub fn register(&self, stored: records::StoredContainer) -> Result<Arc<Container>> {
        let dir = self.inner.settings.dir.join(stored.id.as_str());
        self.inner.table.reserve(&stored.name, &stored.id)?;
        let layers = stored.definition.layers.clone();
        let container = Arc::new(Container::new(
            stored.id,
            stored.created,
            dir,
            &stored.name,
            stored.definition,
            stored.life,
        ));
        if let Some(top) = layers.and_then(|l| l.parse::<dhow_oci::Digest>().ok()) {
            match self.inner.images.pin_chain(&top) {
                Ok(pin) => container.view().pin = Some(pin),
                Err(e) => {
                    tracing::error!(container = %container.id, error = %e, "its image's layers are missing: it can't be started");
                }
            }
        }
        let definition = container.definition();
        for (id, layers) in definition.mounted_images() {
            let top = layers.and_then(|l| l.parse::<dhow_oci::Digest>().ok());
            match top.map(|top| self.inner.images.pin_chain(&top)) {
                Some(Ok(pin)) => {
                    container.view().mounted_images.insert(id.to_owned(), pin);
                }
                Some(Err(e)) => {
                    tracing::error!(container = %container.id, image = id, error = %e, "the layers of an image that it has mounted are missing");
                }
                None => {}
            }
        }
        let volumes = definition.volumes().map(|(name, _)| name);
        self.inner.volumes.hold(&container.id, volumes);
        let networks = &self.inner.networks;
        networks.keep_addresses(&container.id, &definition.endpoints);
        self.inner.table.insert(container.clone());
        Ok(container)
    }

    /// Takes a container out of the table, as the last thing of its removal.
    pub fn forget(&self, container: &Container) {
        let definition = container.definition();
        let volumes = definition.volumes().map(|(name, _)| name);
        self.inner.volumes.release(&container.id, volumes);
        self.keep_no_address(container);
        self.inner.table.remove(container);
    }

    /// What a container that is removed asked for is anyone's.
    fn keep_no_address(&self, container: &Container) {
        let networks = &self.inner.networks;
        networks.keep_addresses(&container.id, &BTreeMap::new());
    }

    pub fn defaults(&self) -> Arc<ContainerDefaults> {
        let defaults = &self.inner.settings.defaults;
        defaults.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn set_defaults(&self, new: ContainerDefaults) {
        let defaults = &self.inner.settings.defaults;
        *defaults.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(new);
    }

    /// Publishes an event about a container, with the attributes that Docker gives it.
    pub fn tell(&self, container: &Container, action: impl Into<String>, more: &[(&str, &str)]) {
        self.publish(container, action, about(container, more));
    }

    /// As [`Containers::tell`], for whoever holds the container's view and has its attributes already.
    pub fn publish(
        &self,
        container: &Container,
        action: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let id = container.id.to_string();
        self.inner
            .events
            .publish("container", action, Actor { id, attributes });
    }

    /// Writes a container's state as it is now; what can't be written is said.
    pub async fn save(&self, container: &Arc<Container>) {
        if let Err(e) = container.turn().await.save(&self.inner.store).await {
            tracing::error!(container = %container.id, error = %e, "its state could not be stored");
        }
    }

    pub fn cgroup(&self, container: &Container) -> Result<Cgroup> {
        let definition = container.definition();
        let path = spec::cgroup_path(
            container.id.as_str(),
            &definition.host_config.resources.cgroup_parent,
        );
        Cgroup::open(&path).map_err(EngineError::io(format!("container {}", container.id)))
    }

    /// What lies below its own directory, topmost first: the init layer and the image's.
    pub fn lower_dirs(&self, container: &Container) -> Vec<PathBuf> {
        let view = container.view();
        view.pin
            .as_ref()
            .map(|p| p.init_layer().into_iter().chain(p.lower_dirs()).collect())
            .unwrap_or_default()
    }

    pub fn volumes(&self) -> &Volumes {
        &self.inner.volumes
    }

    /// A container's definition is another from now on. The caller holds its operation lock.
    async fn redefine(&self, container: &Container, definition: Definition) -> Result<()> {
        records::save_definition(
            &self.inner.store,
            &container.id,
            &container.name(),
            &definition,
            None,
        )
        .await?;
        let networks = &self.inner.networks;
        networks.keep_addresses(&container.id, &definition.endpoints);
        container.view().definition = Arc::new(definition);
        Ok(())
    }

    pub fn networks(&self) -> &Networks {
        &self.inner.networks
    }

    pub fn host(&self) -> &HostFacts {
        &self.inner.host
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub fn trash(&self) -> &Trash {
        &self.inner.trash
    }
}

/// The attributes of an event about a container: those that Docker gives it, and more.
pub fn about(container: &Container, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let definition = container.definition();
    let mut attributes = definition.config.labels.clone();
    attributes.insert("image".into(), definition.config.image.clone());
    attributes.insert("name".into(), container.name().to_string());
    for (key, value) in more {
        attributes.insert((*key).to_owned(), (*value).to_owned());
    }
    attributes
}
