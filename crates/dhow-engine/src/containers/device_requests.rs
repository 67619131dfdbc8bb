//! `DeviceRequests`: devices by the names of the Container Device Interface, and GPUs, which are such devices of known
//! vendors (moby `daemon/devices.go`, `daemon/devices_nvidia_linux.go`, `daemon/devices_amd_linux.go`).
//!
//! Which driver answers a request is decided when the container starts, as in Docker: what the machine has may have
//! changed since it was made.

use std::path::PathBuf;

use dhow_api::DeviceRequest;

use crate::error::{EngineError, Result};
use crate::host::cdi::Devices;
use crate::host::cdi::document::Edits;

/// More than any machine has; a count is a number that a client makes up.
const MOST_DEVICES: i64 = 1024;

/// Who sells GPUs, in the order in which Docker prefers them, and what a request may ask of theirs.
const VENDORS: [Vendor; 2] = [
    Vendor {
        name: "nvidia.com",
        drivers: &["nvidia", "nvidia.cdi"],
        capabilities: &[
            "gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display",
        ],
    },
    Vendor {
        name: "amd.com",
        drivers: &["amd"],
        capabilities: &["gpu", "amd"],
    },
];

struct Vendor {
    name: &'static str,
    /// The drivers that may be asked for by name.
    drivers: &'static [&'static str],
    capabilities: &'static [&'static str],
}

impl Vendor {
    fn answers(&self, request: &DeviceRequest) -> bool {
        if !request.driver.is_empty() {
            return self.drivers.contains(&request.driver.as_str());
        }
        // One of several sets, all of which is wanted.
        let sets = request.capabilities.iter().flatten();
        sets.into_iter()
            .any(|set| set.iter().all(|c| self.capabilities.contains(&c.as_str())))
    }

    fn is_there(&self, devices: &Devices) -> bool {
        devices.vendors.contains(self.name)
    }
}

/// What a container gets for its requests. `dirs` is where devices are described; none where that is switched off.
/// Blocks.
pub fn edits(requests: &[DeviceRequest], dirs: Option<&[PathBuf]>) -> Result<Edits> {
    let devices = Devices::read(dirs.unwrap_or_default());
    let mut wanted = Vec::new();
    for request in requests {
        wanted.extend(names(request, dirs, &devices)?);
    }
    devices.edits(&wanted).map_err(|unknown| {
        for (path, why) in &devices.errors {
            tracing::warn!(path = %path.display(), "{why}");
        }
        injection(format!("unresolvable CDI devices {}", unknown.join(", ")))
    })
}

/// A device that could not be given to a container.
pub fn injection(why: String) -> EngineError {
    EngineError::invalid(format!("CDI device injection failed: {why}"))
}

/// The devices that a request is about.
fn names(
    request: &DeviceRequest,
    dirs: Option<&[PathBuf]>,
    devices: &Devices,
) -> Result<Vec<String>> {
    let ids = request.device_ids.clone().unwrap_or_default();
    if request.driver == "cdi"
        && let Some(dirs) = dirs
    {
        if dirs.is_empty() {
            return Err(injection(
                "no CDI specification directories specified".to_owned(),
            ));
        }
        if request.count != 0 {
            return Err(EngineError::invalid(
                "unexpected count in CDI device request",
            ));
        }
        if request.options.as_ref().is_some_and(|o| !o.is_empty()) {
            return Err(EngineError::invalid(
                "unexpected options in CDI device request",
            ));
        }
        return Ok(ids);
    }
    let vendor = VENDORS
        .iter()
        .find(|vendor| vendor.is_there(devices) && vendor.answers(request));
    let Some(vendor) = vendor else {
        return Err(EngineError::invalid(format!(
            "could not select device driver {:?} with capabilities: {}",
            request.driver,
            shown(request.capabilities.as_deref().unwrap_or_default())
        )));
    };
    if request.count != 0 && !ids.is_empty() {
        return Err(EngineError::invalid(
            "cannot set both Count and DeviceIDs on device request",
        ));
    }
    let ids = match request.count {
        0 => ids,
        count if count < 0 => vec!["all".to_owned()],
        count => (0..count.min(MOST_DEVICES))
            .map(|n| n.to_string())
            .collect(),
    };
    Ok(ids
        .into_iter()
        .map(|id| match id.contains('=') {
            true => id,
            false => format!("{}/gpu={id}", vendor.name),
        })
        .collect())
}

/// As Go prints lists of lists.
fn shown(capabilities: &[Vec<String>]) -> String {
    let sets: Vec<String> = capabilities
        .iter()
        .map(|set| format!("[{}]", set.join(" ")))
        .collect();
    format!("[{}]", sets.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(json: &str, vendors: &[&str]) -> std::result::Result<Vec<String>, String> {
        let mut devices = Devices::default();
        devices
            .vendors
            .extend(vendors.iter().map(|v| v.to_string()));
        let request: DeviceRequest = serde_json::from_str(json).unwrap();
        let dirs = [PathBuf::from("/etc/cdi")];
        names(&request, Some(&dirs), &devices).map_err(|e| e.to_string())
    }

    #[test]
    fn the_driver_follows_from_what_there_is() {
        let gpu = r#"{"Count":-1,"Capabilities":[["gpu"]]}"#;
        let all = |name: &str| Ok(vec![name.to_owned()]);
        assert_eq!(
            ask(gpu, &["nvidia.com", "amd.com"]),
            all("nvidia.com/gpu=all")
        );
        assert_eq!(ask(gpu, &["amd.com"]), all("amd.com/gpu=all"));
        let none = "could not select device driver \"\" with capabilities: [[gpu]]";
        assert_eq!(ask(gpu, &["vendor.com"]), Err(none.to_owned()));
        let compute = r#"{"Count":2,"Capabilities":[["tpu"],["gpu","compute"]]}"#;
        assert_eq!(
            ask(compute, &["nvidia.com"]).unwrap(),
            ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
        );
        let none = "could not select device driver \"\" with capabilities: [[tpu] [gpu compute]]";
        assert_eq!(ask(compute, &["amd.com"]), Err(none.to_owned()));
        let named = r#"{"Driver":"nvidia","DeviceIDs":["GPU-1","v.com/c=x"]}"#;
        assert_eq!(
            ask(named, &["nvidia.com"]).unwrap(),
            ["nvidia.com/gpu=GPU-1", "v.com/c=x"]
        );
        let none = "could not select device driver \"nvidia\" with capabilities: []";
        assert_eq!(ask(named, &["amd.com"]), Err(none.to_owned()));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (json, why) in [
            (
                r#"{"Count":1,"DeviceIDs":["0"],"Capabilities":[["gpu"]]}"#,
                "cannot set both Count and DeviceIDs on device request",
            ),
            (
                r#"{"Driver":"cdi","Count":1,"DeviceIDs":["v.com/c=x"]}"#,
                "unexpected count in CDI device request",
            ),
            (
                r#"{"Driver":"cdi","DeviceIDs":["v.com/c=x"],"Options":{"a":"b"}}"#,
                "unexpected options in CDI device request",
            ),
        ] {
            assert_eq!(ask(json, &["nvidia.com"]), Err(why.to_owned()));
        }
        let request: DeviceRequest =
            serde_json::from_str(r#"{"Driver":"cdi","DeviceIDs":["v.com/c=x"]}"#).unwrap();
        let off = edits(std::slice::from_ref(&request), None).unwrap_err();
        assert_eq!(
            off.to_string(),
            "could not select device driver \"cdi\" with capabilities: []"
        );
        let nowhere = edits(std::slice::from_ref(&request), Some(&[])).unwrap_err();
        assert_eq!(
            nowhere.to_string(),
            "CDI device injection failed: no CDI specification directories specified"
        );
        let unknown = edits(&[request], Some(&["/no/such".into()])).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "CDI device injection failed: unresolvable CDI devices v.com/c=x"
        );
    }
}
