//! What devices bring with them into a container's specification: variables, nodes, mounts, groups and hooks (the
//! Container Device Interface's SPEC.md, "OCI Edits").

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{
    Hook, Hooks, LinuxDeviceBuilder, LinuxDeviceType, Mount, MountBuilder, Process,
};

use super::built;
use super::devices::{Devices, rule};
use crate::containers::device_requests::injection;
use crate::error::{EngineError, Result};
use crate::host::cdi::document::{self, DeviceNode, Edits};

fn failed(why: String) -> EngineError {
    injection(format!("failed to inject devices: {why}"))
}

/// Refuses what there is no way to give, before anything is made.
pub fn check(edits: &Edits) -> Result<()> {
    if let Some(device) = edits.net_devices.first() {
        return Err(failed(format!(
            "network interfaces ({}) can't be moved into containers (netDevices)",
            device.host_interface_name
        )));
    }
    if edits.intel_rdt.is_some() {
        return Err(failed(
            "classes of cache and memory bandwidth can't be given to containers (intelRdt)"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Nodes, and the rules that let them be opened. They are the container's user's unless they say whose.
pub fn add_devices(edits: &Edits, owner: (u32, u32), devices: &mut Devices) -> Result<()> {
    for node in &edits.device_nodes {
        add_node(node, owner, devices)?;
    }
    Ok(())
}

fn add_node(node: &DeviceNode, owner: (u32, u32), devices: &mut Devices) -> Result<()> {
    let node = completed(node)?;
    let kind = match node.kind.as_str() {
        "b" => LinuxDeviceType::B,
        "p" => LinuxDeviceType::P,
        _ => LinuxDeviceType::C,
    };
    let mut made = built(
        LinuxDeviceBuilder::default()
            .path(&node.path)
            .typ(kind)
            .major(node.major)
            .minor(node.minor)
            .build(),
    )?;
    let (uid, gid) = owner;
    made.set_file_mode(node.file_mode)
        .set_uid(node.uid.or(Some(uid).filter(|uid| *uid > 0)))
        .set_gid(node.gid.or(Some(gid).filter(|gid| *gid > 0)));
    devices.nodes.retain(|n| n.path() != made.path());
    devices.nodes.push(made);
    let access = match node.permissions.as_str() {
        "" => "rwm",
        "none" => return Ok(()),
        access => access,
    };
    if kind != LinuxDeviceType::P {
        let (major, minor) = (Some(node.major), Some(node.minor));
        devices.rules.push(rule(true, kind, major, minor, access)?);
    }
    Ok(())
}

/// With what is left open as it is on the host.
fn completed(node: &DeviceNode) -> Result<DeviceNode> {
    let mut node = node.clone();
    if node.host_path.is_empty() {
        node.host_path.clone_from(&node.path);
    }
    let is_whole = !node.kind.is_empty() && (node.major != 0 || node.kind == "p");
    let why = |why: String| {
        let path = &node.host_path;
        failed(format!("failed to stat CDI host device {path:?}: {why}"))
    };
    let found = std::fs::symlink_metadata(&node.host_path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => why("no such file or directory".to_owned()),
        _ => why(e.to_string()),
    });
    let found = found.and_then(|meta| {
        let kind = meta.file_type();
        let kind = match () {
            () if kind.is_block_device() => "b",
            () if kind.is_char_device() => "c",
            () if kind.is_fifo() => "p",
            () => return Err(why("not a device node".to_owned())),
        };
        Ok((kind, meta))
    });
    let (kind, meta) = match found {
        Ok(found) => found,
        // A vendor may say all of it.
        Err(_) if is_whole => return Ok(node),
        Err(e) => return Err(e),
    };
    node.file_mode.get_or_insert(meta.mode() & 0o7777);
    if is_whole {
        return Ok(node);
    }
    if node.kind.is_empty() {
        kind.clone_into(&mut node.kind);
    }
    if node.kind != kind && !(node.kind == "u" && kind == "c") {
        return Err(failed(format!(
            "CDI device ({:?}, {:?}), host type mismatch ({}, {kind})",
            node.path, node.host_path, node.kind
        )));
    }
    if kind != "p" && node.major == 0 {
        node.major = i64::from(rustix::fs::major(meta.rdev()));
        node.minor = i64::from(rustix::fs::minor(meta.rdev()));
    }
    Ok(node)
}

/// In the place of what would be mounted there otherwise; what the user mounts takes theirs.
pub fn add_mounts(edits: &Edits, mounts: &mut Vec<Mount>) -> Result<()> {
    for mount in &edits.mounts {
        let destination = Path::new(&mount.container_path);
        if !destination.is_absolute() {
            return Err(failed(format!(
                "the mount of {:?} is not at an absolute path: {:?}",
                mount.host_path, mount.container_path
            )));
        }
        // Options of ours are for what we mount ourselves.
        if let Some(option) = mount.options.iter().find(|o| o.starts_with("x-dhow.")) {
            return Err(failed(format!("unknown mount option {option:?}")));
        }
        mounts.retain(|m| m.destination() != destination);
        let mut builder = MountBuilder::default()
            .destination(destination)
            .source(&mount.host_path)
            .options(mount.options.clone());
        if !mount.kind.is_empty() {
            builder = builder.typ(&mount.kind);
        }
        mounts.push(built(builder.build())?);
    }
    Ok(())
}

/// Variables take the place of those of the same name; groups are the process's own only.
pub fn change_process(edits: &Edits, process: &mut Process) {
    let mut variables = process.env().clone().unwrap_or_default();
    for variable in &edits.env {
        let name = |v: &str| v.split_once('=').map_or(v.len(), |(name, _)| name.len());
        let same = |v: &String| v[..name(v)] == variable[..name(variable)];
        match variables.iter_mut().find(|v| same(v)) {
            Some(place) => place.clone_from(variable),
            None => variables.push(variable.clone()),
        }
    }
    process.set_env(Some(variables));
    let user = process.user_mut();
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    for gid in &edits.additional_gids {
        if *gid != 0 && !groups.contains(gid) {
            groups.push(*gid);
        }
    }
    user.set_additional_gids(Some(groups).filter(|groups| !groups.is_empty()));
}

/// The hooks by the moments when they are run.
pub fn hooks(edits: &Edits) -> Option<Hooks> {
    if edits.hooks.is_empty() {
        return None;
    }
    let of = |name: &str| -> Option<Vec<Hook>> {
        let all = edits.hooks.iter().filter(|hook| hook.hook_name == name);
        let all: Vec<Hook> = all.map(hook).collect();
        Some(all).filter(|all| !all.is_empty())
    };
    let mut hooks = Hooks::default();
    hooks.set_prestart(of("prestart"));
    hooks
        .set_create_runtime(of("createRuntime"))
        .set_create_container(of("createContainer"))
        .set_start_container(of("startContainer"))
        .set_poststart(of("poststart"))
        .set_poststop(of("poststop"));
    Some(hooks)
}

fn hook(from: &document::Hook) -> Hook {
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let mut hook = Hook::default();
    hook.set_path((&from.path).into())
        .set_args(some(&from.args))
        .set_env(some(&from.env))
        .set_timeout(from.timeout);
    hook
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> DeviceNode {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_node_is_completed_from_the_host() {
        let mut devices = Devices::default();
        let zero = node(r#"{"path":"/dev/nothing","hostPath":"/dev/zero","permissions":"r"}"#);
        add_node(&zero, (33, 0), &mut devices).unwrap();
        let made = devices.nodes.last().unwrap();
        assert_eq!(
            (made.typ(), made.major(), made.minor()),
            (LinuxDeviceType::C, 1, 5)
        );
        assert_eq!((made.uid(), made.gid()), (Some(33), None));
        let rule = devices.rules.last().unwrap();
        assert_eq!(rule.access().as_deref(), Some("r"));
        // All of it said, and none of it there.
        let whole =
            node(r#"{"path":"/dev/no","type":"b","major":7,"minor":300,"permissions":"none"}"#);
        add_node(&whole, (0, 0), &mut devices).unwrap();
        assert_eq!((devices.nodes.len(), devices.rules.len()), (2, 1));
        for (json, why) in [
            (r#"{"path":"/dev/no-such"}"#, "no such file or directory"),
            (r#"{"path":"/etc/passwd"}"#, "not a device node"),
            (
                r#"{"path":"/dev/null","type":"b"}"#,
                "host type mismatch (b, c)",
            ),
        ] {
            let refused = add_node(&node(json), (0, 0), &mut devices).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }

    #[test]
    fn a_process_gets_variables_and_groups() {
        let mut process = Process::default();
        process.set_env(Some(["A=1", "AB=2"].map(str::to_owned).to_vec()));
        let edits = Edits {
            env: ["A=3", "C=4"].map(str::to_owned).to_vec(),
            additional_gids: vec![0, 44, 44],
            ..Edits::default()
        };
        change_process(&edits, &mut process);
        assert_eq!(process.env().as_deref().unwrap(), ["A=3", "AB=2", "C=4"]);
        assert_eq!(process.user().additional_gids().as_deref(), Some(&[44][..]));
    }
}
