//! A mount in the long form of `--mount`, the API's `HostConfig.Mounts`.

use dhow_api::{BindOptions, Mount, TmpfsOptions, VolumeOptions};

use super::bind::clean;
use super::points::volume;
use super::tmpfs;
use crate::containers::definition::{MountKind, MountRecord};
use crate::error::{EngineError, Result};
use crate::id::random_hex;

const SUBPATH: &str = "subpath must be a relative path within the volume";

/// What one element of `HostConfig.Mounts` says. Refuses options of another type's, in Docker's words.
pub fn read(mount: &Mount) -> Result<MountRecord> {
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
        return Err(invalid(&not_absolute(&mount.target)));
    }
    let destination = clean(&mount.target);
    if destination == "/" {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    for (given, field, kind) in [
        (mount.bind_options.is_some(), "BindOptions", "bind"),
        (mount.volume_options.is_some(), "VolumeOptions", "volume"),
        (mount.image_options.is_some(), "ImageOptions", "image"),
        (mount.tmpfs_options.is_some(), "TmpfsOptions", "tmpfs"),
    ] {
        let known = matches!(mount.kind.as_str(), "bind" | "volume" | "image" | "tmpfs");
        if given && known && mount.kind != kind {
            return Err(invalid(&format!("field {field} must not be specified")));
        }
    }
    let mut record = MountRecord {
        destination,
        read_only: mount.read_only,
        read_only_recursive: mount.read_only,
        ..volume(String::new(), String::new(), false)
    };
    match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            bind(mount, &options, &mut record).map_err(|why| invalid(&why))?;
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if let Some(driver) = &options.driver_config
                && !matches!(driver.name.as_str(), "" | "local")
            {
                return Err(EngineError::NoSuchVolumeDriver(driver.name.clone()));
            }
            let anonymous = mount.source.is_empty();
            if !options.subpath.is_empty() && anonymous {
                return Err(invalid("must not set Subpath when using anonymous volumes"));
            }
            if !is_local(&options.subpath) {
                return Err(invalid(SUBPATH));
            }
            check_ids(options.uid, options.gid).map_err(|why| invalid(&why))?;
            let name = match anonymous {
                true => random_hex()?,
                false => {
                    crate::volumes::check_name(&mount.source)?;
                    mount.source.clone()
                }
            };
            named(name, anonymous, options, &mut record);
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            let given = mount.tmpfs_options.clone().unwrap_or_default();
            let options = tmpfs_options(given).map_err(|why| invalid(&why))?;
            record.kind = MountKind::Tmpfs { options };
        }
        "image" => {
            if mount.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            let options = mount.image_options.clone().unwrap_or_default();
            if !is_local(&options.subpath) {
                return Err(invalid(SUBPATH));
            }
            record.read_only = true;
            record.propagation = "rprivate".to_owned();
            record.kind = MountKind::Image {
                reference: mount.source.clone(),
                id: String::new(),
                layers: None,
                subpath: options.subpath,
            };
        }
        _ => return Err(invalid("mount type unknown")),
    }
    Ok(record)
}

fn bind(
    mount: &Mount,
    options: &BindOptions,
    record: &mut MountRecord,
) -> std::result::Result<(), String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    if !matches!(
        options.propagation.as_str(),
        "" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave"
    ) {
        return Err(format!("invalid propagation mode: {}", options.propagation));
    }
    if !mount.source.starts_with('/') {
        return Err(not_absolute(&mount.source));
    }
    let (writable, forced) = (
        options.read_only_non_recursive,
        options.read_only_force_recursive,
    );
    for (conflicts, words) in [
        (
            !mount.read_only && writable,
            "!ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            !mount.read_only && forced,
            "!ReadOnly && BindOptions.ReadOnlyForceRecursive",
        ),
        (
            writable && forced,
            "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        ),
    ] {
        if conflicts {
            return Err(format!("mount options conflict: {words}"));
        }
    }
    check_ids(options.uid, options.gid)?;
    let source = clean(&mount.source);
    if !options.create_mountpoint && !std::path::Path::new(&source).exists() {
        return Err(format!("bind source path does not exist: {source}"));
    }
    record.propagation = match options.propagation.as_str() {
        "" => "rprivate".to_owned(),
        other => other.to_owned(),
    };
    record.non_recursive = options.non_recursive;
    record.read_only_recursive = mount.read_only && !writable;
    record.read_only_forced = forced;
    (record.uid, record.gid) = (options.uid, options.gid);
    record.kind = MountKind::Bind {
        source,
        create: options.create_mountpoint,
    };
    Ok(())
}

fn named(name: String, anonymous: bool, options: VolumeOptions, record: &mut MountRecord) {
    record.mode = "z".to_owned();
    (record.uid, record.gid) = (options.uid, options.gid);
    record.kind = MountKind::Volume {
        name,
        anonymous,
        no_copy: options.no_copy,
        subpath: options.subpath,
        labels: options.labels,
        options: options.driver_config.unwrap_or_default().options,
    };
}

fn tmpfs_options(given: TmpfsOptions) -> std::result::Result<Vec<String>, String> {
    if given.size_bytes < 0 {
        return Err("size must not be negative".to_owned());
    }
    if given.mode > 0o7777 {
        return Err(format!("invalid mode {:o}", given.mode));
    }
    let mut options = Vec::new();
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
            _ => return Err("invalid option array length".to_owned()),
        };
        tmpfs::check_option(&option).map_err(|e| e.to_string())?;
        options.push(option);
    }
    Ok(options)
}

fn not_absolute(path: &str) -> String {
    format!("invalid mount path: '{path}' mount path must be absolute")
}

fn check_ids(uid: Option<u32>, gid: Option<u32>) -> std::result::Result<(), String> {
    match [uid, gid].contains(&Some(u32::MAX)) {
        true => Err(format!("{} is no user or group", u32::MAX)),
        false => Ok(()),
    }
}

/// Whether a path leads nowhere above where it begins, by its words, as Go's `filepath.IsLocal` has it.
fn is_local(path: &str) -> bool {
    let mut depth = 0i32;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    !path.starts_with('/')
}
