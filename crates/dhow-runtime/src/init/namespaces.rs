//! Which namespaces the container gets anew and which it joins, and the names it has in them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::failed;
use crate::protocol::StartError;
use crate::sys;

fn flag(kind: LinuxNamespaceType) -> i32 {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        // CLONE_NEWTIME, which libc does not name everywhere.
        LinuxNamespaceType::Time => 0x80,
    }
}

/// The clone3 flags for the namespaces to make. The cgroup namespace is made later, by the init itself:
/// its root is the cgroup that the process is in at that moment. A mount namespace there always is.
pub(crate) fn to_make(spec: &Spec, has_netns: bool) -> i32 {
    let mut flags = libc::CLONE_NEWNS;
    for namespace in namespaces(spec) {
        let joined = namespace.path().is_some()
            || has_netns && namespace.typ() == LinuxNamespaceType::Network;
        if !joined
            && !matches!(
                namespace.typ(),
                LinuxNamespaceType::Cgroup | LinuxNamespaceType::Time
            )
        {
            flags |= flag(namespace.typ());
        }
    }
    flags
}

/// Whether the container has a process id namespace of its own, made or joined.
pub(crate) fn path_of(spec: &Spec, kind: LinuxNamespaceType) -> Option<&std::path::Path> {
    namespaces(spec)
        .iter()
        .find(|namespace| namespace.typ() == kind)?
        .path()
        .as_deref()
}

pub(crate) fn has_own(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    namespaces(spec)
        .iter()
        .any(|namespace| namespace.typ() == kind && namespace.path().is_none())
}

fn namespaces(spec: &Spec) -> &[oci_spec::runtime::LinuxNamespace] {
    spec.linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_deref())
        .unwrap_or_default()
}

/// Joins the namespaces that come as a path or a descriptor; all but the process id namespace, which the
/// shim had to join before the clone.
pub(crate) fn join(spec: &Spec, netns: Option<&OwnedFd>) -> Result<(), StartError> {
    if let Some(netns) = netns {
        sys::setns(netns.as_fd(), libc::CLONE_NEWNET)
            .map_err(failed("joining the network namespace"))?;
    }
    for namespace in namespaces(spec) {
        let kind = namespace.typ();
        if matches!(kind, LinuxNamespaceType::Pid | LinuxNamespaceType::Mount) {
            continue;
        }
        if let Some(path) = namespace.path() {
            let what = || format!("joining the {kind} namespace {}", path.display());
            let file = File::open(path).map_err(failed(what()))?;
            sys::setns(file.as_fd(), flag(kind)).map_err(failed(what()))?;
        }
    }
    Ok(())
}

/// Sets the host and domain name, in a namespace of the container's own only.
pub(crate) fn set_names(spec: &Spec) -> Result<(), StartError> {
    if let Some(name) = spec.hostname().as_deref().filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes())
            .map_err(failed(format!("setting the host name {name}")))?;
    }
    if let Some(name) = spec.domainname().as_deref().filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes())
            .map_err(failed(format!("setting the domain name {name}")))?;
    }
    Ok(())
}
