//! Devices of the host, and limits on them.

use dhow_api::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};

use crate::error::Refusal;
use crate::format::units;

/// `host[:container][:rwm]`, or the name of a CDI device (`vendor/class=name`).
pub fn read(specs: &[&str]) -> Result<(Option<Vec<DeviceMapping>>, Vec<DeviceRequest>), Refusal> {
    let mut devices = Vec::new();
    let mut requested = Vec::new();
    for spec in specs {
        if !spec.starts_with('/') && spec.contains('/') && spec.contains('=') {
            requested.push((*spec).to_owned());
        } else {
            devices.push(mapping(spec)?);
        }
    }
    let requests = match requested.is_empty() {
        true => Vec::new(),
        false => vec![DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(requested),
            ..DeviceRequest::default()
        }],
    };
    Ok((Some(devices).filter(|list| !list.is_empty()), requests))
}

fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'))
        && text
            .bytes()
            .all(|b| text.bytes().filter(|c| *c == b).count() == 1)
}

fn mapping(spec: &str) -> Result<DeviceMapping, Refusal> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (host, container, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_mode(mode) => (host, container, mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(format!("bad format for path: {spec}")),
    };
    if !container.starts_with('/') {
        return Err(format!("{container} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: container.to_owned(),
        cgroup_permissions: mode.to_owned(),
    })
}

/// `all`, a number, or `device=...`.
pub fn gpus(text: &str) -> Result<DeviceRequest, Refusal> {
    let mut request = DeviceRequest {
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    };
    let count = |text: &str| match text {
        "all" => Ok(-1),
        number => number.parse().map_err(|_| {
            format!("invalid count ({number}): value must be either \"all\" or an integer")
        }),
    };
    for field in crate::csv::fields(text)? {
        match field.split_once('=') {
            None => request.count = count(&field)?,
            Some(("count", value)) => request.count = count(value)?,
            Some(("driver", value)) => request.driver = value.to_owned(),
            Some(("device", value)) => {
                request.device_ids = Some(value.split(',').map(str::to_owned).collect());
            }
            Some(("capabilities", value)) => {
                let mut all: Vec<String> = value.split(',').map(str::to_owned).collect();
                all.push("gpu".to_owned());
                request.capabilities = Some(vec![all]);
            }
            Some((key, _)) => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    Ok(request)
}

fn device_path(spec: &str) -> Result<(&str, &str), Refusal> {
    match spec.split_once(':') {
        Some((path, rest)) if path.starts_with("/dev/") => Ok((path, rest)),
        Some((path, _)) => Err(format!("bad format for device path: {path}")),
        None => Err(format!("bad format: {spec}")),
    }
}

pub fn weights(specs: &[&str]) -> Result<Option<Vec<WeightDevice>>, Refusal> {
    let all = specs
        .iter()
        .map(|spec| {
            let (path, weight) = device_path(spec)?;
            let weight: u16 = weight
                .parse()
                .map_err(|_| format!("invalid weight for device: {spec}"))?;
            if weight > 0 && !(10..=1000).contains(&weight) {
                return Err(format!("invalid weight for device: {spec}"));
            }
            Ok(WeightDevice {
                path: path.to_owned(),
                weight,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(all).filter(|list| !list.is_empty()))
}

/// Rates in bytes a second if `bytes`, else in operations.
pub fn throttles(specs: &[&str], bytes: bool) -> Result<Option<Vec<ThrottleDevice>>, Refusal> {
    let all = specs
        .iter()
        .map(|spec| {
            let (path, rate) = device_path(spec)?;
            let rate = match bytes {
                true => units::parse_bytes(rate).ok().and_then(|n| u64::try_from(n).ok()),
                false => rate.parse().ok(),
            };
            Ok(ThrottleDevice {
                path: path.to_owned(),
                rate: rate.ok_or_else(|| {
                    format!("invalid rate for device: {spec}. The correct format is <device-path>:<number>. Number must be a positive integer")
                })?,
            })
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    Ok(Some(all).filter(|list| !list.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        let show = |spec| {
            mapping(spec).map(|d| {
                format!(
                    "{} {} {}",
                    d.path_on_host, d.path_in_container, d.cgroup_permissions
                )
            })
        };
        assert_eq!(show("/dev/a"), Ok("/dev/a /dev/a rwm".into()));
        assert_eq!(show("/dev/a:rw"), Ok("/dev/a /dev/a rw".into()));
        assert_eq!(show("/dev/a:/dev/b:r"), Ok("/dev/a /dev/b r".into()));
        assert_eq!(show("/dev/a:/dev/b:x"), Err("bad mode specified: x".into()));
        assert!(show("/dev/a:b").is_err() && show("a:b:c:d").is_err());
        let (devices, requests) = read(&["vendor.com/class=x", "/dev/null"]).unwrap();
        assert_eq!(devices.unwrap().len(), 1);
        assert_eq!(
            requests[0].device_ids.as_ref().unwrap(),
            &["vendor.com/class=x"]
        );
    }

    #[test]
    fn limits_of_devices_are_read() {
        let rates = throttles(&["/dev/sda:1mb"], true).unwrap().unwrap();
        assert_eq!(
            (rates[0].path.as_str(), rates[0].rate),
            ("/dev/sda", 1 << 20)
        );
        assert!(throttles(&["/dev/sda:1mb"], false).is_err());
        assert!(weights(&["/dev/sda:5"]).is_err());
        assert_eq!(weights(&[]), Ok(None));
        assert_eq!(gpus("all").unwrap().count, -1);
        assert!(gpus("many").is_err());
    }
}
