//! From a container's definition to the OCI runtime specification of its process: Docker's defaults, then
//! what the definition changes (OCI runtime-spec 1.2 `config.md`, `config-linux.md`; moby
//! `daemon/pkg/oci`).
//!
//! It decides and reads, and changes nothing on the host.

pub mod caps;
pub mod devices;
pub mod edits;
pub mod env;
pub mod mounts;
pub mod namespaces;
pub mod process;
pub mod resources;
mod seccomp_profile;
pub mod security;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{Linux, RootBuilder, Spec};

use crate::config::ContainerDefaults;
use crate::containers::definition::Definition;
use crate::containers::user::ResolvedUser;
use crate::error::{EngineError, Result};
use crate::host::HostFacts;
use crate::host::cdi::document::Edits;
use crate::networks::{EtcFiles, NetworkMode};

/// The version of the specification that is written.
const OCI_VERSION: &str = "1.2.0";

/// What is shared with other containers, in whose namespaces the process is put.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    pub pid: bool,
    pub ipc: SharedIpc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedIpc {
    #[default]
    No,
    /// With another container.
    Container,
    /// With the host: by the definition, or with another container that does.
    Host,
}

/// Where what is mounted is found.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub volumes_dir: &'a Path,
    /// The trees of the layers of images, topmost first, by the images' ids.
    pub images: &'a BTreeMap<String, Vec<PathBuf>>,
}

/// Everything that a specification depends on.
#[derive(Debug)]
pub struct SpecInput<'a> {
    pub id: &'a str,
    pub definition: &'a Definition,
    pub host: &'a HostFacts,
    pub user: &'a ResolvedUser,
    pub files: &'a EtcFiles,
    pub sources: Sources<'a>,
    pub shared: Shared,
    /// What devices of the machine's bring with them.
    pub edits: &'a Edits,
    pub defaults: &'a ContainerDefaults,
}

/// The cgroup that a container is put into, under its `CgroupParent` or the daemon's.
pub fn cgroup_path(id: &str, parent: &str) -> String {
    let parent = match parent.trim_matches('/') {
        "" => "dhow",
        parent => parent,
    };
    format!("/{parent}/{id}")
}

pub fn generate(input: &SpecInput<'_>) -> Result<Spec> {
    let definition = input.definition;
    let host = &definition.host_config;
    edits::check(input.edits)?;
    let mut devices = devices::all(host)?;
    let owner = (input.user.uid, input.user.gid);
    edits::add_devices(input.edits, owner, &mut devices)?;
    let capabilities = caps::effective(
        &input.host.capabilities,
        host.privileged,
        host.cap_add.as_deref().unwrap_or_default(),
        host.cap_drop.as_deref().unwrap_or_default(),
    )?;
    let security = security::parse(host)?.or_default(input.defaults)?;

    let mut resources = resources::limits(&host.resources, input.host.cgroup_version)?;
    resources.set_devices(Some(devices.rules));

    let mut linux = Linux::default();
    linux.set_resources(Some(resources));
    linux.set_cgroups_path(Some(
        cgroup_path(input.id, &host.resources.cgroup_parent).into(),
    ));
    linux.set_namespaces(Some(namespaces::all(host, input.host, input.shared)?));
    linux.set_devices(Some(devices.nodes).filter(|d| !d.is_empty()));
    linux.set_sysctl(sysctls(definition));
    linux.set_seccomp(security.seccomp(host.privileged, &capabilities)?);
    linux.set_masked_paths(security.masked_paths(host));
    linux.set_readonly_paths(security.readonly_paths(host));
    linux.set_rootfs_propagation(namespaces::rootfs_propagation(&definition.mounts));
    linux.set_mount_label(None);

    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned());
    spec.set_root(Some(built(
        RootBuilder::default()
            .path("rootfs")
            .readonly(host.readonly_rootfs)
            .build(),
    )?));
    let writable_cgroups = security.writable_cgroups(host.privileged);
    spec.set_mounts(Some(mounts::all(input, writable_cgroups)?));
    let mut process = process::init(input, &capabilities, &security)?;
    edits::change_process(input.edits, &mut process);
    spec.set_process(Some(process));
    spec.set_hooks(edits::hooks(input.edits));
    if host.uts_mode != "host" {
        spec.set_hostname(Some(definition.config.hostname.clone()).filter(|h| !h.is_empty()));
        spec.set_domainname(Some(definition.config.domainname.clone()).filter(|d| !d.is_empty()));
    } else {
        spec.set_hostname(None);
    }
    spec.set_annotations(
        Some(
            host.annotations
                .clone()
                .into_iter()
                .collect::<HashMap<_, _>>(),
        )
        .filter(|a| !a.is_empty()),
    );
    spec.set_linux(Some(linux));
    Ok(spec)
}

/// What was asked for, and what Docker sets in a network namespace of the container's own: low ports and
/// ping need no capability there.
fn sysctls(definition: &Definition) -> Option<HashMap<String, String>> {
    let mut all: HashMap<String, String> = HashMap::new();
    if definition.network_mode() != NetworkMode::Host {
        all.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        all.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    all.extend(definition.host_config.sysctls.clone());
    Some(all).filter(|a| !a.is_empty())
}

/// A builder that lacks a field is a bug of ours, but no reason to end the daemon.
pub(crate) fn built<T>(result: std::result::Result<T, OciSpecError>) -> Result<T> {
    result.map_err(|e| EngineError::Internal(format!("the runtime specification: {e}")))
}

#[cfg(test)]
mod tests;
