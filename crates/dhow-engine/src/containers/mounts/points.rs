//! Which mounts a container has: the image's volumes, `-v`, `--mount`, `--tmpfs` and `--volumes-from`,
//! settled into one list at creation.

use std::collections::BTreeMap;

use dhow_api::{ContainerConfig, HostConfig, Mount};

use super::bind::{BindSpec, Source, clean};
use super::tmpfs;
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
        own.push(from_mount(mount)?);
    }
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

fn volume(destination: String, name: String, anonymous: bool) -> MountRecord {
    MountRecord {
        kind: MountKind::Volume {
            name,
            anonymous,
            no_copy: false,
            subpath: String::new(),
        },
        destination,
        read_only: false,
        mode: String::new(),
        propagation: String::new(),
        non_recursive: false,
        read_only_recursive: false,
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
            },
            String::new(),
        ),
        Source::Anonymous => (
            MountKind::Volume {
                name: random_hex()?,
                anonymous: true,
                no_copy: bind.no_copy,
                subpath: String::new(),
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
        read_only_recursive: false,
    })
}

fn from_mount(mount: &Mount) -> Result<MountRecord> {
    let invalid = |why: &str| {
        EngineError::invalid(format!(
            "invalid mount config for type \"{}\": {why}",
            mount.kind
        ))
    };
    if mount.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    if !mount.target.starts_with('/') {
        return Err(invalid(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        )));
    }
    let destination = clean(&mount.target);
    if destination == "/" {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    let mut record = MountRecord {
        destination,
        read_only: mount.read_only,
        ..volume(String::new(), String::new(), false)
    };
    match mount.kind.as_str() {
        "bind" => {
            if mount.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            if mount.volume_options.is_some() {
                return Err(invalid("field VolumeOptions must not be specified"));
            }
            if !mount.source.starts_with('/') {
                return Err(invalid(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                )));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            if !matches!(
                options.propagation.as_str(),
                "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave"
            ) {
                return Err(invalid(&format!(
                    "invalid propagation mode: {}",
                    options.propagation
                )));
            }
            let source = clean(&mount.source);
            if !options.create_mountpoint && !std::path::Path::new(&source).exists() {
                return Err(invalid(&format!(
                    "bind source path does not exist: {source}"
                )));
            }
            record.propagation = match options.propagation.as_str() {
                "" => "rprivate".to_owned(),
                other => other.to_owned(),
            };
            record.non_recursive = options.non_recursive;
            record.read_only_recursive = options.read_only_force_recursive;
            record.kind = MountKind::Bind {
                source,
                create: options.create_mountpoint,
            };
        }
        "volume" => {
            if mount.bind_options.is_some() {
                return Err(invalid("field BindOptions must not be specified"));
            }
            let options = mount.volume_options.clone().unwrap_or_default();
            if let Some(driver) = &options.driver_config
                && !matches!(driver.name.as_str(), "" | "local")
            {
                return Err(EngineError::NoSuchVolumeDriver(driver.name.clone()));
            }
            if options.subpath.split('/').any(|p| p == "..") || options.subpath.starts_with('/') {
                return Err(invalid("subpath must be a relative path within the volume"));
            }
            let anonymous = mount.source.is_empty();
            let name = if anonymous {
                random_hex()?
            } else {
                crate::volumes::check_name(&mount.source)?;
                mount.source.clone()
            };
            record.mode = "z".to_owned();
            record.kind = MountKind::Volume {
                name,
                anonymous,
                no_copy: options.no_copy,
                subpath: options.subpath,
            };
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            let given = mount.tmpfs_options.clone().unwrap_or_default();
            if given.size_bytes < 0 {
                return Err(invalid("size must not be negative"));
            }
            let mut options = Vec::new();
            if given.mode > 0o7777 {
                return Err(invalid(&format!("invalid mode {:o}", given.mode)));
            }
            if given.size_bytes > 0 {
                options.push(format!("size={}", given.size_bytes));
            }
            if given.mode != 0 {
                options.push(format!("mode={:o}", given.mode));
            }
            for option in given.options {
                let option = match &option[..] {
                    [flag] => flag.clone(),
                    [key, value] => format!("{key}={value}"),
                    _ => return Err(invalid("invalid option array length")),
                };
                tmpfs::check_option(&option).map_err(|e| invalid(&e.to_string()))?;
                options.push(option);
            }
            record.kind = MountKind::Tmpfs { options };
        }
        "image" => {
            return Err(EngineError::Unsupported(
                "mounts of type \"image\" are not supported".to_owned(),
            ));
        }
        _ => return Err(invalid("mount type unknown")),
    }
    Ok(record)
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
