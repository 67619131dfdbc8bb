//! Paths that no kernel takes, and control groups outside of the one for containers.

use std::path::{Component, Path};

use dhow_api::{ContainerConfig, HostConfig};

use super::refuse;
use crate::error::Result;

/// PATH_MAX and NAME_MAX of limits.h; the first counts the zero byte at the end.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// Refuses a path that is longer than the kernel takes, or that has such a name in it.
pub fn check_length(path: &str) -> Result<()> {
    if path.len() >= PATH_MAX || path.split('/').any(|name| name.len() > NAME_MAX) {
        let shown: String = path.chars().take(60).collect();
        return refuse(format!("invalid path '{shown}…': file name too long"));
    }
    Ok(())
}

pub fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    check_parent(&host.resources.cgroup_parent)?;
    for volume in config.volumes.iter().flatten().map(|(path, _)| path) {
        check_length(volume)?;
    }
    for bind in host.binds.iter().flatten() {
        // The others are volumes' names and options.
        let paths = bind.split(':').filter(|part| part.contains('/'));
        paths.into_iter().try_for_each(check_length)?;
    }
    for mount in &host.mounts {
        check_length(&mount.source)?;
        check_length(&mount.target)?;
    }
    let masked = host.masked_paths.iter().flatten();
    let shown = masked.chain(host.readonly_paths.iter().flatten());
    for path in host.tmpfs.keys().chain(shown) {
        check_length(path)?;
    }
    for device in host.resources.devices.iter().flatten() {
        check_length(&device.path_on_host)?;
        check_length(&device.path_in_container)?;
    }
    Ok(())
}

/// A parent is a group below the hierarchy's root, by its plain name.
fn check_parent(parent: &str) -> Result<()> {
    check_length(parent)?;
    let plain = |part| matches!(part, Component::Normal(_));
    let path = Path::new(parent.trim_matches('/'));
    if path.components().all(plain) && !parent.contains(char::is_control) {
        return Ok(());
    }
    refuse(format!(
        "invalid cgroup parent {parent:?}: it must be the path of a group, without '.', '..' and line breaks"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        for good in ["", "/", "a", "/a/b/", "x.slice", "a//b"] {
            check_parent(good).unwrap();
        }
        let long = "x".repeat(256);
        for bad in ["..", "/../x", "a/../../b", "./a", "a\nb", &long] {
            assert!(check_parent(bad).is_err(), "{bad}");
        }
    }
}
