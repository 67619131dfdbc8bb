//! Docker's `-v` in the API's form, `HostConfig.Binds`: `source:destination[:options]`, where the source is
//! a path of the host or a volume's name.

use crate::error::{EngineError, Result};

/// One bind, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindSpec {
    pub source: Source,
    pub destination: String,
    pub read_only: bool,
    /// The options as they were written, for `Mounts[].Mode`.
    pub mode: String,
    /// `rprivate` unless said otherwise.
    pub propagation: Option<&'static str>,
    /// `nocopy`: a new volume stays empty.
    pub no_copy: bool,
    /// Only the mount itself, not what is mounted below it (`bind-nonrecursive`).
    pub non_recursive: bool,
    /// `uid=` and `gid=`, which are Dhow's own: whose the files of the source's owner are in the container.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Host(String),
    Volume(String),
    /// A new volume without a name.
    Anonymous,
}

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

impl BindSpec {
    pub fn parse(spec: &str) -> Result<BindSpec> {
        let invalid = |why: &str| {
            EngineError::invalid(if why.is_empty() {
                format!("invalid volume specification: '{spec}'")
            } else {
                format!("invalid volume specification: '{spec}': {why}")
            })
        };
        let parts: Vec<&str> = spec.split(':').collect();
        let (source, destination, mode) = match parts[..] {
            [destination] => ("", destination, ""),
            [source, destination] => (source, destination, ""),
            [source, destination, mode] => (source, destination, mode),
            _ => return Err(invalid("")),
        };
        if destination.is_empty() || (parts.len() > 1 && source.is_empty()) {
            return Err(invalid(""));
        }
        if !destination.starts_with('/') {
            return Err(invalid(&format!(
                "invalid mount config for type \"volume\": invalid mount path: '{destination}' mount path must be absolute"
            )));
        }
        let destination = clean(destination);
        if destination == "/" {
            return Err(invalid(
                "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ));
        }
        let source = if source.is_empty() {
            Source::Anonymous
        } else if source.starts_with('/') {
            Source::Host(clean(source))
        } else {
            crate::volumes::check_name(source)?;
            Source::Volume(source.to_owned())
        };
        let mut bind = BindSpec {
            source,
            destination,
            read_only: false,
            mode: mode.to_owned(),
            propagation: None,
            no_copy: false,
            non_recursive: false,
            uid: None,
            gid: None,
        };
        let options: Vec<&str> = mode.split(',').filter(|_| parts.len() == 3).collect();
        if !are_one_of_each(&options) {
            return Err(EngineError::invalid(format!("invalid mode: {mode}")));
        }
        for option in options {
            if let Some((name @ ("uid" | "gid"), id)) = option.split_once('=') {
                let id = read_id(id).ok_or_else(|| {
                    EngineError::invalid(format!(
                        "invalid mode: {mode}: {name} must be the number of a user or group"
                    ))
                })?;
                match name {
                    "uid" => bind.uid = Some(id),
                    _ => bind.gid = Some(id),
                }
                continue;
            }
            match option {
                "rw" => {}
                "ro" => bind.read_only = true,
                // Labels and consistency have no meaning here, as on any host without SELinux.
                "z" | "Z" | "consistent" | "cached" | "delegated" | "default" => {}
                "nocopy" if !matches!(bind.source, Source::Host(_)) => bind.no_copy = true,
                "bind-nonrecursive" => bind.non_recursive = true,
                other => match PROPAGATIONS.iter().find(|p| **p == other) {
                    Some(p) if matches!(bind.source, Source::Host(_)) => bind.propagation = Some(p),
                    _ => return Err(EngineError::invalid(format!("invalid mode: {mode}"))),
                },
            }
        }
        Ok(bind)
    }
}

/// Of what excludes each other, a mode has one.
fn are_one_of_each(options: &[&str]) -> bool {
    let kind = |option: &str| match option {
        "rw" | "ro" => 1,
        "z" | "Z" => 2,
        "consistent" | "cached" | "delegated" | "default" => 3,
        "nocopy" => 4,
        option if PROPAGATIONS.contains(&option) => 5,
        option if option.starts_with("uid=") => 6,
        option if option.starts_with("gid=") => 7,
        _ => 0,
    };
    let mut kinds: Vec<u8> = options
        .iter()
        .map(|option| kind(option))
        .filter(|kind| *kind != 0)
        .collect();
    kinds.sort_unstable();
    kinds.windows(2).all(|pair| pair[0] != pair[1])
}

/// The highest number is no user's.
fn read_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

/// The mode of `--volumes-from`, and whether it is read-only. How a mount is shared it has from where it comes.
pub fn read_inherited(mode: &str) -> Result<bool> {
    let options: Vec<&str> = mode.split(',').filter(|_| !mode.is_empty()).collect();
    let known = |option: &&str| {
        matches!(
            *option,
            "ro" | "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "default"
        )
    };
    match options.iter().all(known) && are_one_of_each(&options) {
        true => Ok(options.contains(&"ro")),
        false => Err(EngineError::invalid(format!("invalid mode: {mode}"))),
    }
}

/// A path without `.`, `..`, doubled and trailing slashes, as Go's `path.Clean` makes it of an absolute one.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let b = BindSpec::parse("/a/../b:/c/:ro,z,rslave").unwrap();
        assert_eq!(b.source, Source::Host("/b".into()));
        assert_eq!(
            (b.destination.as_str(), b.read_only, b.propagation),
            ("/c", true, Some("rslave"))
        );
        let b = BindSpec::parse("data:/c:nocopy").unwrap();
        assert_eq!(b.source, Source::Volume("data".into()));
        assert!(b.no_copy && !b.read_only);
        assert_eq!(BindSpec::parse("/c").unwrap().source, Source::Anonymous);
        let b = BindSpec::parse("data:/c:uid=1000,gid=0").unwrap();
        assert_eq!((b.uid, b.gid), (Some(1000), Some(0)));
    }

    #[test]
    fn modes_of_volumes_from() {
        assert!(!read_inherited("").unwrap());
        assert!(!read_inherited("rw,z").unwrap());
        assert!(read_inherited("ro").unwrap());
        for bad in ["fast", "ro,rw", "rslave", "nocopy", "ro,"] {
            assert!(read_inherited(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "",
            ":/c",
            "a:",
            "/a:/b:ro:x",
            "a:b",
            "/a:/",
            "/a:/b:fast",
            "a b:/c",
            "v:/c:shared",
            "/a:/b:nocopy",
            "/a:/b:",
            "/a:/b:ro,rw",
            "/a:/b:z,Z",
            "/a:/b:uid=root",
            "/a:/b:uid=4294967295",
        ] {
            assert!(BindSpec::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            BindSpec::parse("data:c").unwrap_err().to_string(),
            "invalid volume specification: 'data:c': invalid mount config for type \"volume\": invalid mount path: 'c' mount path must be absolute"
        );
        assert_eq!(
            BindSpec::parse("/a:/b:fast").unwrap_err().to_string(),
            "invalid mode: fast"
        );
    }
}
