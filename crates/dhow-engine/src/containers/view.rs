//! A container's filesystem as somebody outside sees it: which one that is, running or not, and what is mounted
//! there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::protocol::{Rootfs, Target};
use dhow_runtime::view::View;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::container::Container;
use super::definition::{Definition, MountKind};
use super::prepare::make_bind_sources;
use super::spec::Sources;
use super::views::Viewing;
use super::{Containers, records, spec};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::id::random_hex;
use crate::volumes::{Held, Wanted, new_record};

/// How long the end of a process that its shim has told may take to be known here.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// A view that can be opened.
pub struct Viewed {
    pub container: Arc<Container>,
    pub view: View,
    pub viewing: Viewing,
    pub running: bool,
}

impl Containers {
    /// The view of a container. The operation lock is held only while it is found out what there is to see.
    pub async fn view(&self, name: &str) -> Result<Viewed> {
        let container = self.find(name)?;
        loop {
            if let Some(init) = self.init_of(&container).await? {
                let definition = container.definition();
                return Ok(Viewed {
                    view: View::Running {
                        init,
                        at: container.upper_dir(),
                        places: places(&definition, &container),
                    },
                    viewing: container.views.enter(None),
                    container,
                    running: true,
                });
            }
            let turn = container.views.turn().await;
            let _ops = container.ops.lock().await;
            if container.watch().borrow().removed {
                return Err(EngineError::NoSuchContainer(name.to_owned()));
            }
            if container.state().run().is_some() {
                // Started since.
                continue;
            }
            let mut viewing = container.views.enter(Some(turn));
            let (view, held) = self.view_at_rest(&container).await?;
            viewing.keep_mounted(held);
            return Ok(Viewed {
                container: container.clone(),
                view,
                viewing,
                running: false,
            });
        }
    }

    /// The container's own process, if there is one.
    pub(super) async fn init_of(&self, container: &Container) -> Result<Option<OwnedFd>> {
        let mut progress = container.watch();
        let before = progress.borrow_and_update().exits;
        let Some(run) = container.state().run().cloned() else {
            return Ok(None);
        };
        let shim = match container.shim() {
            Ok(shim) => shim,
            Err(EngineError::NotRunning(_)) => return Ok(None),
            Err(e) => return Err(e),
        };
        let pid = i32::try_from(run.pid).ok().and_then(Pid::from_raw);
        let init = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // The number is its own as long as its shim has not seen its end: asked after it was used.
        match (shim.has_ended(Target::Init).await, init) {
            (false, Some(init)) => Ok(Some(init)),
            _ => {
                let ended = progress.wait_for(|p| !p.live || p.exits != before);
                match tokio::time::timeout(END_PATIENCE, ended).await {
                    Ok(_) => Ok(None),
                    Err(_) => Err(EngineError::Unreachable(container.id.clone())),
                }
            }
        }
    }

    /// The view, and what keeps its volumes mounted.
    async fn view_at_rest(&self, container: &Container) -> Result<(View, Option<Held>)> {
        let definition = container.definition();
        if definition.has_binds() {
            let definition = definition.clone();
            blocking(move || make_bind_sources(&definition)).await??;
        }
        self.ensure_volumes(&definition).await?;
        let names: Vec<&str> = definition.volumes().map(|(name, _)| name).collect();
        let volumes = &self.inner.volumes;
        let held = volumes.hold_mounted(random_hex()?, &names).await?;
        self.check_subpaths(&definition).await?;
        self.ensure_init_layer(container).await?;
        let (files, images) = (container.etc_files(), self.mounted_layers(container)?);
        let sources = Sources {
            volumes_dir: volumes.dir(),
            images: &images,
        };
        let view = View::Stopped {
            rootfs: Rootfs::Overlay {
                lower: self.lower_dirs(container),
                upper: container.upper_dir(),
                work: container.work_dir(),
            },
            mounts: spec::mounts::at_rest(&definition, &files, sources)?,
            read_only: definition.host_config.readonly_rootfs,
        };
        Ok((view, held))
    }

    /// A named volume whose record was lost comes back empty.
    pub(super) async fn ensure_volumes(&self, definition: &Definition) -> Result<()> {
        for mount in &definition.mounts {
            let MountKind::Volume {
                name,
                anonymous,
                labels,
                options,
                ..
            } = &mount.kind
            else {
                continue;
            };
            let wanted = Wanted {
                record: new_record(name, labels.clone(), options.clone(), *anonymous),
                filling: None,
                durability: records::volume_durability(definition, *anonymous),
            };
            self.inner.volumes.ensure(wanted).await?;
        }
        Ok(())
    }
}

/// Where mounts of the container's definition are, parents first.
fn places(definition: &Definition, container: &Container) -> Vec<PathBuf> {
    let files = container.etc_files();
    let mut places: Vec<PathBuf> = spec::mounts::etc_files(definition, &files)
        .map(|(place, _)| PathBuf::from(place))
        .chain(definition.mounts.iter().map(|m| (&m.destination).into()))
        .chain(definition.host_config.tmpfs.keys().map(PathBuf::from))
        .collect();
    places.sort_by_key(|place| place.components().count());
    places
}

/// Refuses to write where the container itself could not, in Docker's words. The kernel refuses it as well,
/// where a link of the container's leads to such a place.
pub fn check_writable(definition: &Definition, path: &Path, running: bool) -> Result<()> {
    let covers = |place: &str| path.starts_with(place);
    let mount = definition
        .mounts
        .iter()
        .filter(|m| running || !matches!(m.kind, MountKind::Tmpfs { .. }))
        .filter(|m| covers(&m.destination))
        .max_by_key(|m| m.destination.len());
    match mount {
        Some(mount) if mount.read_only => {
            Err(EngineError::invalid("mounted volume is marked read-only"))
        }
        Some(_) => Ok(()),
        None if running && definition.host_config.tmpfs.keys().any(|t| covers(t)) => Ok(()),
        None if definition.host_config.readonly_rootfs => {
            Err(EngineError::invalid("container rootfs is marked read-only"))
        }
        None => Ok(()),
    }
}
