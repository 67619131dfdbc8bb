//! Links: the address of another container on the default bridge, under names of one's own, in `/etc/hosts`.
//!
//! A definition holds them as `id:alias`, so that they stay true when the other is renamed; clients are shown
//! `/other:/this/alias`. As in Docker, the other must run when a container that links to it starts, and one that starts
//! again with another address is found at that.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dhow_api::HostConfig;
use dhow_net::files;

use super::Containers;
use super::container::Container;
use super::definition::Definition;
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::networks::{BRIDGE, EndpointRecord, NetworkMode};

/// Bytes of a file in /etc that is changed.
const MAX_FILE: u64 = 1 << 20;

/// A link as a definition holds it.
pub(super) fn parse(link: &str) -> Option<(ContainerId, &str)> {
    let (id, alias) = link.split_once(':')?;
    Some((ContainerId::parse(id)?, alias))
}

/// What a definition links to.
pub(super) fn of(definition: &Definition) -> impl Iterator<Item = (ContainerId, &str)> {
    let links = definition.host_config.links.iter().flatten();
    links.filter_map(|link| parse(link))
}

/// The name and the alias of a link as a client writes it: `name`, `name:alias`, or as inspect shows it.
fn read(link: &str) -> Result<(&str, &str)> {
    let bad = || EngineError::invalid(format!("bad format for links: {link}"));
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    let shown = name.starts_with('/') && alias.starts_with('/');
    let alias = match alias.rsplit_once('/') {
        Some((_, last)) if shown => last,
        Some(_) => return Err(bad()),
        None => alias,
    };
    let name = name.strip_prefix('/').unwrap_or(name);
    // An alias becomes a name in a file of lines.
    let clean = |part: &str| {
        !part.is_empty()
            && !part.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
    };
    if !clean(name) || !clean(alias) || alias.contains('#') {
        return Err(bad());
    }
    Ok((name, alias))
}

impl Containers {
    /// Names become ids.
    pub(super) fn settle_links(&self, host: &mut HostConfig) -> Result<()> {
        let Some(links) = host.links.take().filter(|links| !links.is_empty()) else {
            return Ok(());
        };
        let refuse = |kind: &str| {
            EngineError::invalid(format!(
                "conflicting options: {kind} can't be used with links. This would result in undefined behavior"
            ))
        };
        match NetworkMode::parse(&host.network_mode) {
            NetworkMode::Host => return Err(refuse("host type networking")),
            NetworkMode::Container(_) => return Err(refuse("container type network")),
            // There the endpoint's links count.
            NetworkMode::Named(_) => {
                host.links = Some(links);
                return Ok(());
            }
            NetworkMode::Bridge | NetworkMode::None => {}
        }
        let mut settled: Vec<String> = Vec::new();
        let mut aliases: HashMap<&str, ContainerId> = HashMap::new();
        for link in &links {
            let (name, alias) = read(link)?;
            let other = self.find(name).map_err(|e| match e {
                EngineError::NoSuchContainer(_) => {
                    EngineError::invalid(format!("could not get container for {name}: {e}"))
                }
                e => e,
            })?;
            if other.definition().network_mode() == NetworkMode::Host {
                return Err(refuse("host type networking"));
            }
            match aliases.insert(alias, other.id.clone()) {
                Some(before) if before != other.id => {
                    return Err(EngineError::Refused(format!(
                        "Conflict. Two links have the name {alias:?}: to container {before} and to {}",
                        other.id
                    )));
                }
                // Twice the same.
                Some(_) => continue,
                None => {}
            }
            settled.push(format!("{}:{alias}", other.id));
        }
        host.links = Some(settled);
        Ok(())
    }

    /// The lines of `/etc/hosts` for what a container links to, all of which must run.
    pub(super) fn linked_hosts(&self, container: &Container) -> Result<Vec<(IpAddr, String)>> {
        let definition = container.definition();
        let mut lines = Vec::new();
        for (id, alias) in of(&definition) {
            let me = container.name();
            let Some(other) = self.inner.table.get(&id) else {
                return Err(EngineError::Refused(format!(
                    "Cannot link to a container that was removed, as /{me}/{alias}: take the link away with `docker rm --link {me}/{alias}`"
                )));
            };
            let (running, address) = {
                let view = other.view();
                let address = on_bridge(&view.life.endpoints);
                (view.life.state.run().is_some(), address)
            };
            if !running {
                return Err(EngineError::Refused(format!(
                    "Cannot link to a non running container: /{} AS /{me}/{alias}",
                    other.name()
                )));
            }
            if let Some(address) = address {
                lines.push((IpAddr::V4(address), names(&other, alias)));
            }
        }
        Ok(lines)
    }

    /// A container has begun to run: those that link to it, and run, find it at its address of now.
    pub(super) async fn tell_linked(&self, started: &Container) {
        let address = on_bridge(&started.view().life.endpoints);
        let Some(address) = address else { return };
        for container in self.inner.table.linking() {
            if container.state().run().is_none() {
                continue;
            }
            for (id, alias) in of(&container.definition()) {
                if id == started.id {
                    let line = (IpAddr::V4(address), names(started, alias));
                    change_hosts(&container, alias, Some(line)).await;
                }
            }
        }
    }

    /// As inspect shows them.
    pub(super) fn shown_links(&self, definition: &Definition, name: &str) -> Option<Vec<String>> {
        definition.host_config.links.as_ref()?;
        let shown = of(definition).filter_map(|(id, alias)| {
            let other = self.inner.table.get(&id)?;
            Some(format!("/{}:/{name}/{alias}", other.name()))
        });
        Some(shown.collect())
    }

    /// Further names of containers, by their ids: what those that link to them call them.
    pub(super) fn linked_names(&self) -> HashMap<ContainerId, Vec<String>> {
        let mut names: HashMap<ContainerId, Vec<String>> = HashMap::new();
        for container in self.inner.table.linking() {
            let name = container.name();
            for (id, alias) in of(&container.definition()) {
                names
                    .entry(id)
                    .or_default()
                    .push(format!("/{name}/{alias}"));
            }
        }
        names
    }

    /// Takes a link away: `container/alias`.
    pub(super) async fn remove_link(&self, path: &str) -> Result<()> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let Some((parent, alias)) = path.rsplit_once('/') else {
            return Err(EngineError::Refused(
                "Conflict, cannot remove the default link name of the container".to_owned(),
            ));
        };
        let container = self.find(parent)?;
        let _ops = container.ops.lock().await;
        let mut definition = Definition::clone(&*container.definition());
        let links = definition.host_config.links.get_or_insert_default();
        let before = links.len();
        links.retain(|link| parse(link).is_none_or(|(_, other)| other != alias));
        if links.len() == before {
            return Err(EngineError::NoSuchContainer(path.to_owned()));
        }
        self.redefine(&container, definition).await?;
        self.inner.table.relink(&container);
        if container.state().run().is_some() {
            change_hosts(&container, alias, None).await;
        }
        Ok(())
    }
}

/// The address on the default bridge, where links are.
fn on_bridge(endpoints: &[EndpointRecord]) -> Option<Ipv4Addr> {
    let endpoint = endpoints.iter().find(|e| e.network == BRIDGE)?;
    Some(endpoint.ip)
}

/// What a container is called by one that links to it.
fn names(other: &Container, alias: &str) -> String {
    let name = other.name();
    let mut names = format!("{alias} {}", other.definition().config.hostname);
    if alias != &*name {
        names += " ";
        names += &name;
    }
    names
}

/// Changes a link in a running container's hosts file.
async fn change_hosts(container: &Container, alias: &str, line: Option<(IpAddr, String)>) {
    let alias = alias.to_owned();
    change_file(container, container.etc_files().hosts, move |text| {
        let line = line
            .as_ref()
            .map(|(address, names)| (*address, names.as_str()));
        files::with_host(text, &alias, line)
    })
    .await;
}

/// Changes one of a running container's files in /etc where it stands, for it is mounted; what the container has written there
/// stays. One that can't be changed is said.
pub(super) async fn change_file(
    container: &Container,
    path: PathBuf,
    change: impl FnOnce(&str) -> String + Send + 'static,
) {
    let file = path.clone();
    let changed = blocking(move || rewrite(&file, change)).await;
    let failed = EngineError::io(path.display());
    if let Err(e) = changed.and_then(|changed| changed.map_err(failed)) {
        tracing::warn!(container = %container.id, error = %e, "a file in its /etc stays as it was");
    }
}

/// The file is the container's to write to, so that it may be anything by now.
fn rewrite(path: &Path, change: impl FnOnce(&str) -> String) -> io::Result<()> {
    /// One change after another: each takes what the last has left.
    static CHANGES: Mutex<()> = Mutex::new(());
    let _change = CHANGES.lock().unwrap_or_else(|e| e.into_inner());
    let mut text = String::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_FILE} bytes"
        )));
    }
    let new = change(&text);
    match new == text {
        true => Ok(()),
        false => std::fs::write(path, new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_clients_write_and_show_them() {
        assert_eq!(read("db").unwrap(), ("db", "db"));
        assert_eq!(read("db:data").unwrap(), ("db", "data"));
        assert_eq!(read("/db:/web/data").unwrap(), ("db", "data"));
        for bad in ["", ":", "db:", ":x", "db:a:b", "db:a/b", "db:a b", "db:a#b"] {
            assert_eq!(
                read(bad).unwrap_err().to_string(),
                format!("bad format for links: {bad}")
            );
        }
    }
}
