//! Making a container: everything is checked and settled before anything is made, and what was made is
//! undone if a later step fails.

use std::path::PathBuf;
use std::sync::Arc;

use dhow_api::{ContainerCreateRequest, ContainerCreateResponse, HostConfig};
use dhow_image::{Image, Pin};

use super::container::{Container, Life};
use super::define::Defined;
use super::definition::{Definition, MountKind};
use super::mounts::places::PLACES;
use super::state::{Ended, State};
use super::{Containers, records};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::names;
use crate::volumes::{Filling, Wanted, new_record};

/// How often a made-up name may be in use already.
const NAME_ATTEMPTS: u32 = 8;

impl Containers {
    /// Makes a container, and returns once it would survive the daemon.
    pub async fn create(
        &self,
        name: Option<&str>,
        request: ContainerCreateRequest,
        platform: Option<&str>,
    ) -> Result<ContainerCreateResponse> {
        let id = ContainerId::random()?;
        let binds = |host: &HostConfig| host.mounts.iter().any(|m| m.kind == "bind");
        let defined = if request.host_config.as_ref().is_some_and(binds) {
            // Their sources are looked at, and may be on a disk that does not answer.
            let (containers, id) = (self.clone(), id.clone());
            let platform = platform.map(str::to_owned);
            blocking(move || containers.define(&id, request, platform.as_deref())).await?
        } else {
            self.define(&id, request, platform)
        };
        let Defined {
            definition,
            image,
            warnings,
        } = defined?;
        let name = self.reserve_name(name, &id)?;
        let release_name = scopeguard(|| self.inner.table.release(&name, &id));

        let dir = self.inner.settings.dir.join(id.as_str());
        let container = Arc::new(Container::new(
            id.clone(),
            dhow_api::time::now(),
            dir,
            &name,
            definition,
            Life {
                state: State::Created(Ended::default()),
                endpoints: Vec::new(),
                restart_count: 0,
                failed_health: false,
            },
        ));
        if let Err(e) = self.make(&container, &image).await {
            self.let_go_of_volumes(&container, true).await;
            if let Err(e) = self.inner.trash.discard(&container.dir) {
                tracing::warn!(container = %container.id, error = %e, "its directory is left for the next start to remove");
            }
            return Err(e);
        }
        release_name.disarm();
        let networks = &self.inner.networks;
        networks.keep_addresses(&container.id, &container.definition().endpoints);
        self.inner.table.insert(container.clone());
        self.tell(&container, "create", &[]);
        Ok(ContainerCreateResponse {
            id: id.to_string(),
            warnings,
        })
    }

    fn reserve_name(&self, wanted: Option<&str>, id: &ContainerId) -> Result<String> {
        if let Some(name) = wanted.filter(|n| !n.is_empty()) {
            let bare = name.strip_prefix('/').unwrap_or(name);
            if !names::is_valid(bare) {
                return Err(EngineError::invalid(format!(
                    "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )));
            }
            self.inner.table.reserve(bare, id)?;
            return Ok(bare.to_owned());
        }
        for attempt in 0..NAME_ATTEMPTS {
            let name = names::random(attempt)?;
            if self.inner.table.reserve(&name, id).is_ok() {
                return Ok(name);
            }
        }
        // No word fits: the id is a name that nobody has.
        let name = id.short().to_owned();
        self.inner.table.reserve(&name, id)?;
        Ok(name)
    }

    /// Directories, volumes and the record, in that order: a record without its directory does not exist.
    async fn make(&self, container: &Arc<Container>, image: &Arc<Image>) -> Result<()> {
        make_dirs(container).map_err(EngineError::io(container.dir.display()))?;
        let definition = container.definition();
        let pin = match definition.layers.as_deref() {
            Some(_) => Some(with_init_layer(self.inner.images.pin(&image.id)?).await?),
            None => None,
        };
        let lower = pin.as_ref().map(|p| p.lower_dirs()).unwrap_or_default();
        container.view().pin = pin;
        for (id, layers) in definition.mounted_images() {
            if let (Some(_), Ok(digest)) = (layers, id.parse()) {
                let pin = self.inner.images.pin(&digest)?;
                container.view().mounted_images.insert(id.to_owned(), pin);
            }
        }
        self.make_volumes(&container.id, &definition, lower).await?;
        records::insert_container(&self.inner.store, container).await
    }

    /// Makes the volumes that are not there yet, and fills empty ones with what the image has in their place.
    async fn make_volumes(
        &self,
        id: &ContainerId,
        definition: &Definition,
        lower: Vec<PathBuf>,
    ) -> Result<()> {
        let volumes = &self.inner.volumes;
        // Held before they are there, so that nobody removes them in between.
        volumes.hold(id, definition.volumes().map(|(name, _)| name));
        for mount in &definition.mounts {
            let MountKind::Volume {
                name,
                anonymous,
                no_copy,
                labels,
                options,
                ..
            } = &mount.kind
            else {
                continue;
            };
            let filling = (!no_copy).then(|| Filling {
                layers: lower.clone(),
                place: PathBuf::from(&mount.destination),
            });
            let wanted = Wanted {
                record: new_record(name, labels.clone(), options.clone(), *anonymous),
                filling,
                durability: records::volume_durability(definition, *anonymous),
            };
            volumes.ensure(wanted).await?;
        }
        Ok(())
    }

    /// The container has no use for its volumes any more; its anonymous ones go with it, if asked.
    pub(super) async fn let_go_of_volumes(&self, container: &Container, remove_anonymous: bool) {
        let definition = container.definition();
        let volumes = &self.inner.volumes;
        volumes.release(&container.id, definition.volumes().map(|(name, _)| name));
        if remove_anonymous {
            let names: Vec<String> = definition
                .volumes()
                .filter(|(_, anonymous)| *anonymous)
                .map(|(name, _)| name.to_owned())
                .collect();
            volumes.remove_anonymous(names).await;
        }
    }
}

/// Makes the layer for what every container has, for the first container of an image.
pub(super) async fn with_init_layer(pin: Pin) -> Result<Pin> {
    if pin.init_layer().is_some() {
        return Ok(pin);
    }
    let made = blocking(move || pin.make_init_layer(&PLACES).map(|()| pin)).await?;
    Ok(made?)
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

/// Runs its closure unless it was disarmed.
struct Guard<F: FnOnce()>(Option<F>);

fn scopeguard<F: FnOnce()>(undo: F) -> Guard<F> {
    Guard(Some(undo))
}

impl<F: FnOnce()> Guard<F> {
    fn disarm(mut self) {
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
