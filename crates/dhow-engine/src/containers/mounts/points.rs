//! Which mounts a container has: the image's volumes, `-v`, `--mount`, `--tmpfs` and `--volumes-from`,
//! settled into one list at creation.

use std::collections::BTreeMap;

use dhow_api::{ContainerConfig, HostConfig};

use super::bind::{BindSpec, Source, clean};
use super::{long, tmpfs};
use crate::containers::definition::{MountKind, MountRecord};
use crate::error::{EngineError, Result};
use crate::id::random_hex;

/// Settles the list. `inherited` are the mounts of the containers of `VolumesFrom`, already chosen.
pub fn settle(
    config: &ContainerConfig,
    host: &HostConfig,
    inherited: Vec<MountRecord>,
) -> Result<Vec<MountRecord>> {
    // Later kinds take the place of earlier ones at the same destination.
    let mut by_place: BTreeMap<String, MountRecord> = BTreeMap::new();
    for record in inherited {
        by_place.insert(record.destination.clone(), record);
    }
    let mut own: Vec<MountRecord> = Vec::new();
    for spec in host.binds.iter().flatten() {
        own.push(from_bind(spec)?);
    }
    for mount in &host.mounts {
        own.push(long::read(mount)?);
    }
    check_driver(config, host, &own)?;
    let mut places: Vec<String> = own.iter().map(|m| m.destination.clone()).collect();
    for (path, options) in host.tmpfs.iter() {
        places.push(tmpfs_place(path)?);
        options.split(',').try_for_each(tmpfs::check_option)?;
    }
    places.sort();
    if let Some(twice) = places.windows(2).find(|w| w[0] == w[1]) {
        return Err(EngineError::invalid(format!(
            "Duplicate mount point: {}",
            twice[0]
        )));
    }
    for record in own {
        by_place.insert(record.destination.clone(), record);
    }
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        // `-v` without a source comes in this form; with one, by mistake, it is understood all the same.
        if !path.starts_with('/') {
            return Err(EngineError::invalid(format!(
                "invalid volume specification: '{path}': invalid mount config for type \"volume\": invalid mount path: '{path}' mount path must be absolute"
            )));
        }
        let place = clean(path);
        if !by_place.contains_key(&place) && !host.tmpfs.keys().any(|t| clean(t) == place) {
            let record = volume(place.clone(), random_hex()?, true);
            by_place.insert(place, record);
        }
    }
    Ok(by_place.into_values().collect())
}

/// The driver for volumes that don't name one, `VolumeDriver`: there is but one.
fn check_driver(config: &ContainerConfig, host: &HostConfig, own: &[MountRecord]) -> Result<()> {
    let driver = host.volume_driver.as_str();
    let binds = host.binds.as_ref().map_or(0, Vec::len);
    let makes_volumes = own[..binds.min(own.len())]
        .iter()
        .any(|m| matches!(m.kind, MountKind::Volume { .. }))
        || config.volumes.as_ref().is_some_and(|v| !v.is_empty());
    match driver {
        "" | "local" => Ok(()),
        _ if !makes_volumes => Ok(()),
        other => Err(EngineError::NoSuchVolumeDriver(other.to_owned())),
    }
}

fn tmpfs_place(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    match clean(path) {
        place if place == "/" => Err(EngineError::invalid(
            "invalid specification: destination can't be '/'",
        )),
        place => Ok(place),
    }
}

pub(super) fn volume(destination: String, name: String, anonymous: bool) -> MountRecord {
    MountRecord {
        kind: MountKind::Volume {
            name,
            anonymous,
            no_copy: false,
            subpath: String::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        },
        destination,
        read_only: false,
        mode: String::new(),
        propagation: String::new(),
        non_recursive: false,
        read_only_recursive: false,
        read_only_forced: false,
        uid: None,
        gid: None,
    }
}

fn from_bind(spec: &str) -> Result<MountRecord> {
    let bind = BindSpec::parse(spec)?;
    let (kind, propagation) = match bind.source {
        Source::Host(source) => (
            MountKind::Bind {
                source,
                create: true,
            },
            bind.propagation.unwrap_or("rprivate").to_owned(),
        ),
        Source::Volume(name) => (
            MountKind::Volume {
                name,
                anonymous: false,
                no_copy: bind.no_copy,
                subpath: String::new(),
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            },
            String::new(),
        ),
        Source::Anonymous => (
            MountKind::Volume {
                name: random_hex()?,
                anonymous: true,
                no_copy: bind.no_copy,
                subpath: String::new(),
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            },
            String::new(),
        ),
    };
    Ok(MountRecord {
        kind,
        destination: bind.destination,
        read_only: bind.read_only,
        mode: bind.mode,
        propagation,
        non_recursive: bind.non_recursive,
        read_only_recursive: bind.read_only,
        read_only_forced: false,
        uid: bind.uid,
        gid: bind.gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(config: &str, host: &str) -> Result<Vec<MountRecord>> {
        settle(
            &serde_json::from_str(config).unwrap(),
            &serde_json::from_str(host).unwrap(),
            Vec::new(),
        )
    }

    #[test]
    fn what_the_client_says_takes_the_images_place() {
        let mounts = places(
            r#"{"Volumes":{"/a":{},"/b":{},"/t":{}}}"#,
            r#"{"Binds":["/tmp:/a:ro","data:/c"],"Tmpfs":{"/t":""}}"#,
        )
        .unwrap();
        let shown: Vec<_> = mounts
            .iter()
            .map(|m| {
                (
                    m.destination.as_str(),
                    m.read_only,
                    matches!(m.kind, MountKind::Bind { .. }),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("/a", true, true),
                ("/b", false, false),
                ("/c", false, false)
            ]
        );
        assert!(matches!(
            &mounts[1].kind,
            MountKind::Volume {
                anonymous: true,
                ..
            }
        ));
    }

    #[test]
    fn refusals() {
        for (host, text) in [
            (
                r#"{"Binds":["/tmp:/a","/etc:/a/"]}"#,
                "Duplicate mount point: /a",
            ),
            (
                r#"{"Mounts":[{"Type":"bind","Target":"/a"}]}"#,
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                r#"{"Mounts":[{"Type":"bind","Source":"/no/such","Target":"/a"}]}"#,
                "invalid mount config for type \"bind\": bind source path does not exist: /no/such",
            ),
            (
                r#"{"Mounts":[{"Type":"disk","Target":"/a"}]}"#,
                "invalid mount config for type \"disk\": mount type unknown",
            ),
            (
                r#"{"Mounts":[{"Type":"volume","Source":"v","Target":"/a","VolumeOptions":{"Subpath":"../x"}}]}"#,
                "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
            ),
        ] {
            assert_eq!(places("{}", host).unwrap_err().to_string(), text);
        }
    }
}
