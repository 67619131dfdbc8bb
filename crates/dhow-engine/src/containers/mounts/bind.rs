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
        };
        for option in mode.split(',').filter(|_| parts.len() == 3) {
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
