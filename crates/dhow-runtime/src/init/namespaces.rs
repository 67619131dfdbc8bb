//! Which namespaces the container gets anew and which it joins, and the names it has in them.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::failed;
use crate::protocol::{Joined, StartError};
use crate::sys;

/// The namespaces of others that a container is to be in.
pub(crate) struct Others {
    pub netns: Option<OwnedFd>,
    /// What is shared, each with a pidfd of the process that it is shared with.
    pub joined: Vec<(Joined, OwnedFd)>,
}

impl Others {
    /// Whom it is shared with.
    pub fn of(&self, what: Joined) -> Option<&OwnedFd> {
        let found = self.joined.iter().find(|(joined, _)| *joined == what)?;
        Some(&found.1)
    }
}

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
        let joined = has_netns && namespace.typ() == LinuxNamespaceType::Network;
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

pub(crate) fn has_own(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    namespaces(spec)
        .iter()
        .any(|namespace| namespace.typ() == kind)
}

fn namespaces(spec: &Spec) -> &[oci_spec::runtime::LinuxNamespace] {
    spec.linux()
        .as_ref()
        .and_then(|linux| linux.namespaces().as_deref())
        .unwrap_or_default()
}

/// Joins the namespaces that come as descriptors; all but the process id namespace, which the shim had to join
/// before the clone.
pub(crate) fn join(others: &Others) -> Result<(), StartError> {
    if let Some(netns) = &others.netns {
        sys::setns(netns.as_fd(), libc::CLONE_NEWNET)
            .map_err(failed("joining the network namespace"))?;
    }
    if let Some(with) = others.of(Joined::Ipc) {
        sys::setns(with.as_fd(), libc::CLONE_NEWIPC)
            .map_err(failed("joining the ipc namespace of the other container"))?;
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
