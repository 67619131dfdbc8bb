//! `--mount type=bind,source=/a,target=/b,readonly`, and `--tmpfs path[:options]`.

use std::collections::BTreeMap;

use dhow_api::{BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};

use crate::csv::fields;
use crate::error::Refusal;
use crate::format::units;

fn boolean(key: &str, value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None | Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(value) => Err(format!(
            "invalid value for '{key}': invalid boolean value ({value:?}): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")"
        )),
    }
}

fn id(key: &str, value: &str) -> Result<u32, Refusal> {
    value
        .parse()
        .map_err(|_| format!("invalid value for {key}: {value}: it must be a number"))
}

/// Docker's check of one option's white space.
fn check_space(field: &str, key: &str, value: Option<&str>) -> Result<(), Refusal> {
    if key.trim() != key {
        return Err(format!(
            "invalid option '{}' in '{field}': option should not have whitespace",
            key.trim()
        ));
    }
    match value {
        Some(value) if value.trim().is_empty() => {
            Err(format!("invalid value for '{key}': value is empty"))
        }
        Some(value) if value.trim() != value => Err(format!(
            "invalid value for '{key}' in '{field}': value should not have whitespace"
        )),
        _ => Ok(()),
    }
}

pub fn mount(text: &str) -> Result<Mount, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err("value is empty".to_owned());
    }
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    let mut bind = BindOptions::default();
    let mut volume = VolumeOptions::default();
    let mut driver = VolumeDriver::default();
    let mut image = ImageOptions::default();
    let mut tmpfs = TmpfsOptions::default();
    let mut owner = (None, None);
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        check_space(&field, key, value)?;
        let key = key.to_ascii_lowercase();
        match (key.as_str(), value) {
            ("readonly" | "ro", value) => mount.read_only = boolean(&key, value)?,
            ("volume-nocopy", value) => volume.no_copy = boolean(&key, value)?,
            ("bind-nonrecursive", value) => bind.non_recursive = boolean(&key, value)?,
            ("bind-create-src", value) => bind.create_mountpoint = boolean(&key, value)?,
            (_, None) => {
                return Err(format!("invalid field '{field}' must be a key=value pair"));
            }
            ("type", Some(value)) => mount.kind = value.to_ascii_lowercase(),
            ("source" | "src", Some(value)) => {
                mount.source = match value.starts_with('.') {
                    true => std::path::absolute(value)
                        .map_err(|error| format!("invalid source {value}: {error}"))?
                        .to_string_lossy()
                        .into_owned(),
                    false => value.to_owned(),
                };
            }
            ("target" | "dst" | "destination", Some(value)) => mount.target = value.to_owned(),
            ("consistency", Some(value)) => mount.consistency = value.to_ascii_lowercase(),
            ("bind-propagation", Some(value)) => bind.propagation = value.to_ascii_lowercase(),
            ("bind-recursive", Some(value)) => match value {
                "enabled" => {}
                "disabled" => bind.non_recursive = true,
                "writable" => bind.read_only_non_recursive = true,
                "readonly" => bind.read_only_force_recursive = true,
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            ("volume-subpath", Some(value)) => volume.subpath = value.to_owned(),
            ("volume-label", Some(value)) => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                volume.labels.insert(name.to_owned(), value.to_owned());
            }
            ("volume-driver", Some(value)) => driver.name = value.to_owned(),
            ("volume-opt", Some(value)) => {
                let (name, value) = value.split_once('=').unwrap_or((value, ""));
                driver.options.insert(name.to_owned(), value.to_owned());
            }
            // Dhow's own.
            ("uid", Some(value)) => owner.0 = Some(id(&key, value)?),
            ("gid", Some(value)) => owner.1 = Some(id(&key, value)?),
            ("image-subpath", Some(value)) => image.subpath = value.to_owned(),
            ("tmpfs-size", Some(value)) => {
                tmpfs.size_bytes = units::parse_bytes(value)
                    .map_err(|_| format!("invalid value for {key}: {value}"))?;
            }
            ("tmpfs-mode", Some(value)) => {
                tmpfs.mode = u32::from_str_radix(value, 8)
                    .map_err(|_| format!("invalid value for {key}: {value}"))?;
            }
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
    }
    if driver != VolumeDriver::default() {
        volume.driver_config = Some(driver);
    }
    let given = |set: bool, kind: &str, options: &str| match set && mount.kind != kind {
        true => Err(format!(
            "cannot mix '{options}' options with mount type '{}'",
            mount.kind
        )),
        false => Ok(()),
    };
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    match mount.kind.as_str() {
        "bind" => (bind.uid, bind.gid) = owner,
        "volume" => (volume.uid, volume.gid) = owner,
        kind if owner != (None, None) => {
            return Err(format!(
                "cannot mix 'uid' and 'gid' with mount type '{kind}': there are bind and volume"
            ));
        }
        _ => {}
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    given(bind != BindOptions::default(), "bind", "bind-*")?;
    given(volume != VolumeOptions::default(), "volume", "volume-*")?;
    given(image != ImageOptions::default(), "image", "image-*")?;
    given(tmpfs != TmpfsOptions::default(), "tmpfs", "tmpfs-*")?;
    if bind.read_only_non_recursive && !mount.read_only {
        return Err(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
                .to_owned(),
        );
    }
    if bind.read_only_force_recursive {
        if !mount.read_only {
            return Err(
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"
                    .to_owned(),
            );
        }
        if bind.propagation != "rprivate" {
            return Err(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                    .to_owned(),
            );
        }
    }
    mount.bind_options = Some(bind).filter(|options| *options != BindOptions::default());
    mount.volume_options = Some(volume).filter(|options| *options != VolumeOptions::default());
    mount.image_options = Some(image).filter(|options| *options != ImageOptions::default());
    mount.tmpfs_options = Some(tmpfs).filter(|options| *options != TmpfsOptions::default());
    Ok(mount)
}

/// Options by path.
pub fn tmpfs(specs: &[&str]) -> BTreeMap<String, String> {
    specs
        .iter()
        .map(|spec| {
            let (path, options) = spec.split_once(':').unwrap_or((spec, ""));
            (path.to_owned(), options.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read() {
        let bind = mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!(
            (
                bind.kind.as_str(),
                bind.source.as_str(),
                bind.target.as_str(),
                bind.read_only
            ),
            ("bind", "/a", "/b", true)
        );
        assert_eq!(bind.bind_options.unwrap().propagation, "rslave");
        assert_eq!(bind.volume_options, None);
        let volume =
            mount("target=/v,\"volume-opt=o=a,b\",volume-label=x=1,volume-nocopy").unwrap();
        assert_eq!(volume.kind, "volume");
        let options = volume.volume_options.unwrap();
        assert_eq!(options.driver_config.unwrap().options["o"], "a,b");
        assert!(options.no_copy && options.labels["x"] == "1");
        let owned = mount("type=bind,src=/a,dst=/b,bind-create-src,uid=1000,gid=7").unwrap();
        let options = owned.bind_options.unwrap();
        assert_eq!((options.uid, options.gid), (Some(1000), Some(7)));
        assert!(options.create_mountpoint);
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap();
        let options = tmpfs.tmpfs_options.unwrap();
        assert_eq!((options.size_bytes, options.mode), (1 << 20, 0o1777));
        for (text, why) in [
            ("type=bind,src=/a", "target is required"),
            ("foo", "invalid field 'foo' must be a key=value pair"),
            ("foo=1", "unknown option 'foo' in 'foo=1'"),
            (
                "target=/a,ro=x",
                "invalid value for 'ro': invalid boolean value (\"x\"): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")",
            ),
            ("", "value is empty"),
            (
                "type=bind,src=,target=/a",
                "invalid value for 'src': value is empty",
            ),
            (
                "type=bind, src=/a,target=/a",
                "invalid option 'src' in ' src=/a': option should not have whitespace",
            ),
            (
                "type=bind,src=/a,target=/b,bind-recursive=readonly,ro",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
            (
                "type=tmpfs,target=/b,uid=3",
                "cannot mix 'uid' and 'gid' with mount type 'tmpfs': there are bind and volume",
            ),
            (
                "type=bind,src=/a,target=/b,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
        ] {
            assert_eq!(mount(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn tmpfs_options_follow_the_path() {
        let all = tmpfs(&["/run", "/tmp:size=1m,exec"]);
        assert_eq!(all["/run"], "");
        assert_eq!(all["/tmp"], "size=1m,exec");
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,40}") {
            let _ = mount(&text);
        }
    }
}
