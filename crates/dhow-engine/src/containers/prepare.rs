//! What a start needs beside its place in the network: the files in /etc, the mounts' sources, and the request
//! to the spawner, with the specification in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dhow_runtime::protocol::{Rootfs, StartRequest};

use super::container::Container;
use super::definition::{Definition, MountKind};
use super::logging::LogSettings;
use super::mounts::shared;
use super::spec::{self, Shared, Sources, SpecInput};
use super::{Containers, device_requests, user};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::host::cdi::document::Edits;
use crate::networks::{EndpointRecord, NetworkMode, Sandbox};
use dhow_image::LayeredRoot;

/// One of the container's own with nothing in it, made if it is missing.
fn empty_directory(container: &Container, name: &str) -> Result<PathBuf> {
    let path = container.dir.join(name);
    match std::fs::create_dir(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(EngineError::io(path.display())(e))
        }
        _ => Ok(path),
    }
}

fn check_subpath(root: &Path, subpath: &str) -> Result<()> {
    let failed = |e: rustix::io::Errno| {
        let path = root.join(subpath);
        let why = match e {
            rustix::io::Errno::NOENT => "no such file or directory".to_owned(),
            e => e.to_string(),
        };
        EngineError::NoSuchPath(format!("cannot access path {}: {why}", path.display()))
    };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let none = rustix::fs::Mode::empty();
    let data = rustix::fs::open(root, flags, none).map_err(failed)?;
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&data, subpath, flags, none, resolve).map_err(failed)?;
    Ok(())
}

impl Containers {
    pub(super) fn write_etc_files(
        &self,
        container: &Container,
        endpoints: &[EndpointRecord],
    ) -> Result<()> {
        let definition = container.definition();
        let paths = container.etc_files();
        if let NetworkMode::Container(name) = definition.network_mode() {
            return paths.share(&self.find(&name)?.etc_files());
        }
        let name = container.name();
        let linked = self.linked_hosts(container)?;
        self.inner.networks.write_files(
            &definition.wishes(&container.id, &name),
            endpoints,
            &linked,
            &paths,
        )
    }

    /// Says early what of a volume is not there. A link in it leads as if the volume were the root; the mount looks
    /// again, as its content is its containers'.
    pub(super) async fn check_subpaths(&self, definition: &Definition) -> Result<()> {
        let volumes = &self.inner.volumes;
        let subpaths: Vec<(PathBuf, String)> = definition
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, subpath, .. } if !subpath.is_empty() => {
                    Some((volumes.data_dir(name), subpath.clone()))
                }
                _ => None,
            })
            .collect();
        if subpaths.is_empty() {
            return Ok(());
        }
        // A volume's server may not answer.
        blocking(move || {
            subpaths
                .iter()
                .try_for_each(|(root, subpath)| check_subpath(root, subpath))
        })
        .await?
    }

    /// Reads the user database as the container sees it.
    pub fn resolve_user(
        &self,
        container: &Container,
        user: &str,
        group_add: &[String],
    ) -> Result<user::ResolvedUser> {
        let mut layers = vec![container.upper_dir()];
        layers.extend(self.lower_dirs(container));
        let root = LayeredRoot::new(layers);
        let read = |path: &str| {
            root.read(path)
                .map(Option::unwrap_or_default)
                .map_err(EngineError::io(format!("reading {path} in the container")))
        };
        user::resolve(user, group_add, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    /// Loads the profile of containers again where somebody has taken it away: none is to run without it unseen.
    pub(super) async fn ensure_profile(&self, definition: &Definition) -> Result<()> {
        let host = &definition.host_config;
        let security = spec::security::parse(host)?;
        let facts = &self.inner.host;
        if !spec::process::has_default_profile(facts, &security, host.privileged) {
            return Ok(());
        }
        blocking(dhow_runtime::apparmor::load_default)
            .await?
            .map_err(|e| {
                EngineError::Internal(format!(
                    "AppArmor enabled on system but the {} profile could not be loaded: {e}",
                    dhow_runtime::apparmor::DEFAULT_PROFILE
                ))
            })
    }

    /// What the devices bring with them that a container asks for by name or by what they can do.
    pub(super) async fn device_edits(&self, definition: &Definition) -> Result<Edits> {
        let requests = &definition.host_config.resources.device_requests;
        let Some(requests) = requests.clone().filter(|all| !all.is_empty()) else {
            return Ok(Edits::default());
        };
        let dirs = self.defaults().device_dirs.clone();
        blocking(move || device_requests::edits(&requests, dirs.as_deref())).await?
    }

    /// The layers of the images that are mounted, for the specification.
    pub(super) fn mounted_layers(
        &self,
        container: &Container,
    ) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        let definition = container.definition();
        if definition.mounted_images().next().is_none() {
            return Ok(BTreeMap::new());
        }
        // Two layers at least are merged, and an image may have none.
        let nothing = empty_directory(container, "empty")?;
        let view = container.view();
        let mut all = BTreeMap::new();
        for (id, layers) in definition.mounted_images() {
            let mut dirs = match (view.mounted_images.get(id), layers) {
                (Some(pin), _) => pin.lower_dirs(),
                (None, None) => Vec::new(),
                (None, Some(_)) => {
                    return Err(EngineError::invalid(format!(
                        "the layers of the mounted image {id} are missing: pull it again, and make the container anew"
                    )));
                }
            };
            if dirs.is_empty() {
                // The kernel refuses the same one twice.
                dirs.push(empty_directory(container, "empty.upper")?);
            }
            dirs.push(nothing.clone());
            all.insert(id.to_owned(), dirs);
        }
        Ok(all)
    }

    pub(super) fn start_request(
        &self,
        container: &Container,
        definition: &Definition,
        sandbox: &Sandbox,
        shared: Shared,
        edits: &Edits,
    ) -> Result<StartRequest> {
        let (config, host) = (&definition.config, &definition.host_config);
        let user = self.resolve_user(
            container,
            &config.user,
            host.group_add.as_deref().unwrap_or_default(),
        )?;
        let defaults = self.defaults();
        let images = self.mounted_layers(container)?;
        let spec = spec::generate(&SpecInput {
            id: container.id.as_str(),
            definition,
            host: &self.inner.host,
            user: &user,
            files: &container.etc_files(),
            sources: Sources {
                volumes_dir: self.inner.volumes.dir(),
                images: &images,
            },
            shared,
            edits,
            defaults: &defaults,
        })?;
        let log = LogSettings::read(&host.log_config)?.sink(container, definition)?;
        let size = host.console_size;
        Ok(StartRequest {
            id: container.id.to_string(),
            bundle: container.dir.clone(),
            runtime_dir: self.inner.settings.exec_root.clone(),
            spec,
            rootfs: Rootfs::Overlay {
                lower: self.lower_dirs(container),
                upper: container.upper_dir(),
                work: container.work_dir(),
            },
            has_netns: sandbox.netns.is_some(),
            joined: Vec::new(),
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            log,
            attach: Vec::new(),
            held_fds: sandbox.holders.len(),
            init: host.init.unwrap_or(defaults.init),
            sync_exit: !host.auto_remove,
            tty_size: match size {
                [0, _] | [_, 0] => None,
                [rows, cols] => Some((
                    u16::try_from(rows).unwrap_or(u16::MAX),
                    u16::try_from(cols).unwrap_or(u16::MAX),
                )),
            },
        })
    }
}

/// `-v` makes a host directory that is not there; `--mount` does not.
pub(super) fn make_bind_sources(definition: &Definition) -> Result<()> {
    for mount in &definition.mounts {
        let MountKind::Bind { source, create } = &mount.kind else {
            continue;
        };
        let path = Path::new(source);
        if path.exists() {
            continue;
        }
        if !create {
            return Err(EngineError::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            )));
        }
        std::fs::create_dir_all(path).map_err(|e| {
            EngineError::invalid(format!(
                "error while creating mount source path '{source}': {e}"
            ))
        })?;
    }
    Ok(())
}

/// What is to be shared with the host must be on a mount that is. Blocks.
pub(super) fn check_propagation(definition: &Definition) -> Result<()> {
    for mount in &definition.mounts {
        if let MountKind::Bind { source, .. } = &mount.kind {
            shared::check(source, &mount.propagation)?;
        }
    }
    Ok(())
}
