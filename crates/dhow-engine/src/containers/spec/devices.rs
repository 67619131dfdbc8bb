//! Device nodes and the device rules of a container's cgroup: Docker's defaults, `--device`,
//! `--device-cgroup-rule`, and all of the host's devices for a privileged container.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use dhow_api::{DeviceMapping, HostConfig};
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

use super::built;
use crate::error::{EngineError, Result};

/// The devices of a container: nodes to make, and rules for its cgroup.
#[derive(Debug, Default)]
pub struct Devices {
    pub nodes: Vec<LinuxDevice>,
    pub rules: Vec<LinuxDeviceCgroup>,
}

/// How deep `/dev` is searched.
const MAX_DEPTH: usize = 8;

pub fn all(host: &HostConfig) -> Result<Devices> {
    let mut devices = Devices::default();
    if host.privileged {
        devices
            .rules
            .push(rule(true, LinuxDeviceType::A, None, None, "rwm")?);
        host_devices(Path::new("/dev"), 0, &mut devices.nodes)?;
    } else {
        devices.rules = default_rules()?;
    }
    for mapping in host.resources.devices.iter().flatten() {
        add_mapping(mapping, host.privileged, &mut devices)?;
    }
    for text in host.resources.device_cgroup_rules.iter().flatten() {
        devices.rules.push(parse_rule(text)?);
    }
    Ok(devices)
}

/// Nothing but the basic devices, the terminal's, and making nodes, which by itself opens none.
fn default_rules() -> Result<Vec<LinuxDeviceCgroup>> {
    use LinuxDeviceType::{A, B, C};
    let c = |major: i64, minor: Option<i64>| rule(true, C, Some(major), minor, "rwm");
    Ok(vec![
        rule(false, A, None, None, "rwm")?,
        rule(true, C, None, None, "m")?,
        rule(true, B, None, None, "m")?,
        c(1, Some(3))?,
        c(1, Some(5))?,
        c(1, Some(7))?,
        c(1, Some(8))?,
        c(1, Some(9))?,
        c(5, Some(0))?,
        c(5, Some(1))?,
        c(5, Some(2))?,
        c(136, None)?,
    ])
}

pub(super) fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup> {
    let mut rule = built(
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .access(access)
            .build(),
    )?;
    rule.set_major(major);
    rule.set_minor(minor);
    Ok(rule)
}

fn node(path: PathBuf, meta: &std::fs::Metadata) -> Result<Option<LinuxDevice>> {
    let kind = if meta.file_type().is_char_device() {
        LinuxDeviceType::C
    } else if meta.file_type().is_block_device() {
        LinuxDeviceType::B
    } else {
        return Ok(None);
    };
    built(
        LinuxDeviceBuilder::default()
            .path(path)
            .typ(kind)
            .major(i64::from(rustix::fs::major(meta.rdev())))
            .minor(i64::from(rustix::fs::minor(meta.rdev())))
            .file_mode(meta.mode() & 0o7777)
            .uid(meta.uid())
            .gid(meta.gid())
            .build(),
    )
    .map(Some)
}

/// The host's device nodes, without those that belong to its own terminals and mounts.
fn host_devices(dir: &Path, depth: usize, nodes: &mut Vec<LinuxDevice>) -> Result<()> {
    let entries = std::fs::read_dir(dir).map_err(EngineError::io(dir.display()))?;
    for entry in entries {
        let entry = entry.map_err(EngineError::io(dir.display()))?;
        let path = entry.path();
        // A device can vanish while we look.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let skipped = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
            if depth < MAX_DEPTH && !skipped.iter().any(|s| entry.file_name() == *s) {
                host_devices(&path, depth + 1, nodes)?;
            }
        } else if entry.file_name() != "console"
            && entry.file_name() != "ptmx"
            && entry.file_name() != "tty"
        {
            nodes.extend(node(path, &meta)?);
        }
    }
    Ok(())
}

fn add_mapping(mapping: &DeviceMapping, privileged: bool, devices: &mut Devices) -> Result<()> {
    let host_path = Path::new(&mapping.path_on_host);
    let inside = match mapping.path_in_container.as_str() {
        "" => mapping.path_on_host.as_str(),
        path => path,
    };
    let access = match mapping.cgroup_permissions.as_str() {
        "" => "rwm",
        access => access,
    };
    let gone = |e: std::io::Error| {
        EngineError::invalid(format!(
            "error gathering device information while adding custom device \"{}\": {e}",
            mapping.path_on_host
        ))
    };
    let meta = std::fs::metadata(host_path).map_err(gone)?;
    let mut add = |path: PathBuf, meta: &std::fs::Metadata| -> Result<bool> {
        let Some(made) = node(path.clone(), meta)? else {
            return Ok(false);
        };
        if !privileged {
            devices.rules.push(rule(
                true,
                made.typ(),
                Some(made.major()),
                Some(made.minor()),
                access,
            )?);
        }
        devices.nodes.retain(|n| n.path() != &path);
        devices.nodes.push(made);
        Ok(true)
    };
    if meta.is_dir() {
        for entry in std::fs::read_dir(host_path).map_err(gone)? {
            let entry = entry.map_err(gone)?;
            if let Ok(meta) = std::fs::metadata(entry.path()) {
                add(Path::new(inside).join(entry.file_name()), &meta)?;
            }
        }
        return Ok(());
    }
    if add(PathBuf::from(inside), &meta)? {
        Ok(())
    } else {
        Err(EngineError::invalid(format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            mapping.path_on_host
        )))
    }
}

/// Some of `rwm`, or nothing for all of them.
pub fn check_access(access: &str) -> Result<()> {
    if access.len() <= 3 && access.chars().all(|c| "rwm".contains(c)) {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "invalid device mode: {access}"
    )))
}

/// `type major:minor access`, as in `c 42:* rmw`.
pub fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup> {
    let invalid = || EngineError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(invalid()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        n => n
            .parse::<u32>()
            .map(|n| Some(i64::from(n)))
            .map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    if access.is_empty() || check_access(access).is_err() {
        return Err(invalid());
    }
    rule(true, kind, number(major)?, number(minor)?, access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let r = parse_rule("c 42:* rmw").unwrap();
        assert_eq!((r.major(), r.minor()), (Some(42), None));
        for bad in [
            "",
            "c",
            "c 1:2",
            "x 1:2 r",
            "c 1 r",
            "c 1:2 q",
            "c 1:2 r x",
            "c -1:2 r",
        ] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_device_gets_a_node_and_a_rule() {
        let mut host = HostConfig::default();
        host.resources.devices = Some(vec![DeviceMapping {
            path_on_host: "/dev/null".into(),
            path_in_container: "/dev/nothing".into(),
            cgroup_permissions: "r".into(),
        }]);
        let devices = all(&host).unwrap();
        assert_eq!(devices.nodes[0].path(), Path::new("/dev/nothing"));
        let last = devices.rules.last().unwrap();
        assert_eq!(
            (last.major(), last.minor(), last.access().as_deref()),
            (Some(1), Some(3), Some("r"))
        );
        host.resources.devices = Some(vec![DeviceMapping {
            path_on_host: "/etc/passwd".into(),
            ..DeviceMapping::default()
        }]);
        assert!(all(&host).is_err());
    }
}
