//! A specification of devices as it is written: JSON or YAML of a vendor's making (the Container Device Interface's
//! SPEC.md, version 1.1.0). What is not known in it is an error, as is what its version does not have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::names;

/// The versions, oldest first.
const VERSIONS: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    #[serde(default)]
    pub cdi_version: String,
    /// `vendor.com/class`
    #[serde(default)]
    pub kind: String,
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub devices: Vec<Device>,
    #[serde(default)]
    pub container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    #[serde(default)]
    pub name: String,
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub container_edits: Edits,
}

/// What a container gets with a device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub net_devices: Vec<NetDevice>,
    pub hooks: Vec<Hook>,
    pub mounts: Vec<Mount>,
    pub intel_rdt: Option<IntelRdt>,
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    pub host_path: String,
    /// `b`, `c` or `u`, `p`; as on the host where there is none.
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    /// Some of `rwm`, all of them where there is none, or `none`.
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetDevice {
    pub host_interface_name: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    pub options: Vec<String>,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IntelRdt {
    #[serde(rename = "closID")]
    pub clos_id: String,
    #[serde(rename = "l3CacheSchema")]
    pub l3_cache_schema: String,
    pub mem_bw_schema: String,
    pub schemata: Option<Vec<String>>,
    pub enable_monitoring: bool,
}

impl Document {
    /// Reads and checks one.
    pub fn parse(text: &str, is_json: bool) -> Result<Document, String> {
        let document: Document = match is_json {
            true => serde_json::from_str(text).map_err(|e| e.to_string())?,
            false => {
                // File modes are written as C has them.
                let options = serde_saphyr::options! { legacy_octal_numbers: true };
                serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())?
            }
        };
        document.check()?;
        Ok(document)
    }

    pub fn vendor_and_class(&self) -> (&str, &str) {
        match self.kind.split_once('/') {
            Some((vendor, class)) if !vendor.is_empty() && !class.is_empty() => (vendor, class),
            _ => ("", &self.kind),
        }
    }

    fn check(&self) -> Result<(), String> {
        let version = self
            .cdi_version
            .strip_prefix('v')
            .unwrap_or(&self.cdi_version);
        let at = |version: &str| VERSIONS.iter().position(|v| *v == version);
        let has = at(version).ok_or_else(|| format!("invalid version {:?}", self.cdi_version))?;
        let needs = self.needed_version();
        if at(needs).is_some_and(|needed| has < needed) {
            return Err(format!("the spec version must be at least v{needs}"));
        }
        let (vendor, class) = self.vendor_and_class();
        names::check_kind_part("vendor", vendor)?;
        names::check_kind_part("class", class)?;
        self.container_edits.check()?;
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            let of = |why: String| format!("invalid device {:?}: {why}", device.name);
            names::check_device(&device.name)?;
            if device.container_edits == Edits::default() {
                return Err(of("empty device edits".to_owned()));
            }
            device.container_edits.check().map_err(of)?;
            if !seen.insert(&device.name) {
                return Err(format!("invalid spec, multiple device {:?}", device.name));
            }
        }
        match self.devices.is_empty() {
            true => Err("invalid spec, no devices".to_owned()),
            false => Ok(()),
        }
    }

    fn needed_version(&self) -> &'static str {
        let devices = self.devices.iter().map(|d| &d.container_edits);
        let all: Vec<&Edits> = devices.chain([&self.container_edits]).collect();
        let any = |test: &dyn Fn(&Edits) -> bool| all.iter().any(|edits| test(edits));
        let noted = |annotations: &Option<BTreeMap<String, String>>| {
            annotations.as_ref().is_some_and(|all| !all.is_empty())
        };
        if any(&|e| {
            let rdt = e.intel_rdt.as_ref();
            !e.net_devices.is_empty()
                || rdt.is_some_and(|rdt| rdt.schemata.is_some() || rdt.enable_monitoring)
        }) {
            "1.1.0"
        } else if any(&|e| e.intel_rdt.is_some() || !e.additional_gids.is_empty()) {
            "0.7.0"
        } else if noted(&self.annotations)
            || self.devices.iter().any(|d| noted(&d.annotations))
            || self.vendor_and_class().1.contains('.')
        {
            "0.6.0"
        } else if self
            .devices
            .iter()
            .any(|d| d.name.starts_with(|c: char| c.is_ascii_digit()))
            || any(&|e| e.device_nodes.iter().any(|node| !node.host_path.is_empty()))
        {
            "0.5.0"
        } else if any(&|e| e.mounts.iter().any(|mount| !mount.kind.is_empty())) {
            "0.4.0"
        } else {
            "0.3.0"
        }
    }
}

impl Edits {
    pub fn append(&mut self, more: &Edits) {
        self.env.extend_from_slice(&more.env);
        self.device_nodes.extend_from_slice(&more.device_nodes);
        self.net_devices.extend_from_slice(&more.net_devices);
        self.hooks.extend_from_slice(&more.hooks);
        self.mounts.extend_from_slice(&more.mounts);
        if more.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&more.intel_rdt);
        }
        self.additional_gids
            .extend_from_slice(&more.additional_gids);
    }

    fn check(&self) -> Result<(), String> {
        check_env(&self.env).map_err(|why| format!("invalid container edits: {why}"))?;
        for node in &self.device_nodes {
            let path = &node.path;
            if path.is_empty() {
                return Err("invalid (empty) device path".to_owned());
            }
            if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return Err(format!("device {path:?}: invalid type {:?}", node.kind));
            }
            let access = &node.permissions;
            if access != "none" && !access.chars().all(|c| "rwm".contains(c)) {
                return Err(format!("device {path:?}: invalid permissions {access:?}"));
            }
        }
        for hook in &self.hooks {
            let name = hook.hook_name.as_str();
            if !matches!(
                name,
                "prestart"
                    | "createRuntime"
                    | "createContainer"
                    | "startContainer"
                    | "poststart"
                    | "poststop"
            ) {
                return Err(format!("invalid hook name {name:?}"));
            }
            if hook.path.is_empty() {
                return Err(format!("invalid hook {name:?} with empty path"));
            }
            check_env(&hook.env).map_err(|why| format!("invalid hook {name:?}: {why}"))?;
        }
        for mount in &self.mounts {
            if mount.host_path.is_empty() {
                return Err("invalid mount, empty host path".to_owned());
            }
            if mount.container_path.is_empty() {
                return Err("invalid mount, empty container path".to_owned());
            }
        }
        if let Some(rdt) = &self.intel_rdt {
            let id = rdt.clos_id.as_str();
            if id != "/"
                && (id.len() >= 4096 || matches!(id, "." | "..") || id.contains(['/', '\n']))
            {
                return Err("invalid ClosID".to_owned());
            }
        }
        for device in &self.net_devices {
            if device.host_interface_name.is_empty() || device.name.is_empty() {
                return Err("invalid linux net device, empty name".to_owned());
            }
        }
        Ok(())
    }
}

fn check_env(variables: &[String]) -> Result<(), String> {
    match variables
        .iter()
        .find(|v| matches!(v.find('='), None | Some(0)))
    {
        Some(bad) => Err(format!("invalid environment variable {bad:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = "cdiVersion: 0.6.0\nkind: vendor.com/class\ndevices:\n- name: one\n  containerEdits:\n    deviceNodes:\n    - path: /dev/one\n      hostPath: /dev/null\n      fileMode: 0640\n      permissions: rw\ncontainerEdits:\n  env:\n  - A=1\n";
        let json = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/class","devices":[{"name":"one","containerEdits":{
            "deviceNodes":[{"path":"/dev/one","hostPath":"/dev/null","fileMode":416,"permissions":"rw"}]}}],
            "containerEdits":{"env":["A=1"]}}"#;
        let (yaml, json) = (
            Document::parse(yaml, false).unwrap(),
            Document::parse(json, true).unwrap(),
        );
        assert_eq!(yaml.container_edits, json.container_edits);
        assert_eq!(
            yaml.devices[0].container_edits,
            json.devices[0].container_edits
        );
        assert_eq!(yaml.vendor_and_class(), ("vendor.com", "class"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |version: &str, edits: &str| {
            let text = format!(
                r#"{{"cdiVersion":"{version}","kind":"v/c","devices":[{{"name":"a","containerEdits":{edits}}}]}}"#
            );
            Document::parse(&text, true).map(drop).unwrap_err()
        };
        for (version, edits, why) in [
            ("2.0.0", r#"{"env":["A=1"]}"#, "invalid version \"2.0.0\""),
            ("0.6.0", r#"{"additionalGids":[1]}"#, "at least v0.7.0"),
            (
                "1.0.0",
                r#"{"netDevices":[{"hostInterfaceName":"a","name":"b"}]}"#,
                "at least v1.1.0",
            ),
            (
                "0.3.0",
                r#"{"mounts":[{"hostPath":"/a","containerPath":"/b","type":"bind"}]}"#,
                "at least v0.4.0",
            ),
            ("0.6.0", "{}", "empty device edits"),
            ("0.6.0", r#"{"env":["=1"]}"#, "invalid environment variable"),
            ("0.6.0", r#"{"colour":"red"}"#, "unknown field"),
            (
                "0.6.0",
                r#"{"deviceNodes":[{"path":"/dev/a","permissions":"x"}]}"#,
                "invalid permissions \"x\"",
            ),
            (
                "0.6.0",
                r#"{"hooks":[{"hookName":"never","path":"/a"}]}"#,
                "invalid hook name \"never\"",
            ),
            (
                "0.6.0",
                r#"{"mounts":[{"hostPath":"/a"}]}"#,
                "empty container path",
            ),
        ] {
            let said = with(version, edits);
            assert!(said.contains(why), "{edits}: {said}");
        }
        let kinds = [
            ("v", "invalid vendor"),
            ("v/.", "invalid class"),
            ("", "invalid vendor"),
        ];
        for (kind, why) in kinds {
            let text = format!(
                r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{{"name":"a","containerEdits":{{"env":["A=1"]}}}}]}}"#
            );
            let said = Document::parse(&text, true).map(drop).unwrap_err();
            assert!(said.contains(why), "{kind}: {said}");
        }
    }
}
