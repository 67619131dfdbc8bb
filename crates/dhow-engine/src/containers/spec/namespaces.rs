//! Which namespaces a container gets of its own. Those of other containers are joined by descriptors, see
//! [`crate::containers::partners`].

use dhow_api::HostConfig;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

use super::{Shared, SharedIpc, built};
use crate::containers::definition::MountRecord;
use crate::error::Result;
use crate::host::HostFacts;
use crate::networks::NetworkMode;

pub fn all(host: &HostConfig, facts: &HostFacts, shared: Shared) -> Result<Vec<LinuxNamespace>> {
    use LinuxNamespaceType as T;
    let mut namespaces = vec![own(T::Mount)?];
    if NetworkMode::parse(&host.network_mode) != NetworkMode::Host {
        namespaces.push(own(T::Network)?);
    }
    if host.uts_mode != "host" {
        namespaces.push(own(T::Uts)?);
    }
    if host.pid_mode != "host" && !shared.pid {
        namespaces.push(own(T::Pid)?);
    }
    if shared.ipc == SharedIpc::No && host.ipc_mode != "host" {
        namespaces.push(own(T::Ipc)?);
    }
    if has_own_cgroup_namespace(host, facts) {
        namespaces.push(own(T::Cgroup)?);
    }
    Ok(namespaces)
}

/// Docker's default is private on a v2 host, and the host's on v1 and for privileged containers there.
pub fn has_own_cgroup_namespace(host: &HostConfig, facts: &HostFacts) -> bool {
    match host.cgroupns_mode.as_str() {
        "private" => true,
        "host" => false,
        _ => facts.cgroup_version == 2,
    }
}

/// Shared or slave mounts need a root that lets them through.
pub fn rootfs_propagation(mounts: &[MountRecord]) -> Option<String> {
    let any = |names: [&str; 2]| {
        mounts
            .iter()
            .any(|m| names.contains(&m.propagation.as_str()))
    };
    if any(["shared", "rshared"]) {
        Some("shared".to_owned())
    } else if any(["slave", "rslave"]) {
        Some("rslave".to_owned())
    } else {
        None
    }
}

fn own(kind: LinuxNamespaceType) -> Result<LinuxNamespace> {
    built(LinuxNamespaceBuilder::default().typ(kind).build())
}
