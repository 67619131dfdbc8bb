//! Image references: `busybox`, `ghcr.io/a/b:1`, `localhost:5000/x@sha256:...`.
//!
//! The grammar and the normalization of short names are those of the distribution project's
//! `reference` package, which every Docker client and registry follows; so are the error texts, which
//! scripts match. A [`Reference`] is always normalized: it has a domain, and on Docker Hub a namespace.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// The domain of names that do not give one.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of references that have neither a tag nor a digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const LOCALHOST: &str = "localhost";
/// Longest repository path, in bytes.
const PATH_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    #[error("invalid tag format")]
    Tag,
    #[error("{0}")]
    Digest(String),
}

impl From<DigestError> for ReferenceError {
    fn from(e: DigestError) -> Self {
        ReferenceError::Digest(match e {
            DigestError::Malformed(_) => "invalid checksum digest format".into(),
            DigestError::UnsupportedAlgorithm(_) => "unsupported digest algorithm".into(),
            DigestError::BadHex(d, _, expected) => {
                let hex = d.split_once(':').map_or("", |(_, hex)| hex);
                if hex.len() == expected {
                    "invalid checksum digest format".into()
                } else {
                    "invalid checksum digest length".to_owned()
                }
            }
        })
    }
}

/// A normalized reference to an image in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: Box<str>,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses what users type: `busybox` is `docker.io/library/busybox`. No tag is added.
    pub fn parse_normalized(s: &str) -> Result<Reference, ReferenceError> {
        if is_identifier(s) {
            return Err(ReferenceError::LooksLikeId(s.to_owned()));
        }
        let (domain, remainder) = split_domain(s);
        let remote = remainder.split_once(':').map_or(&*remainder, |(r, _)| r);
        if remote.to_lowercase() != remote {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        parse_remainder(domain, &remainder)
    }

    /// The registry's host, with its port if one is given: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether it has neither a tag nor a digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Domain and path: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as Docker shows it: `busybox`.
    pub fn familiar_name(&self) -> String {
        if &*self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.to_string(),
        }
    }

    /// The reference as Docker shows it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// The same, with the tag `latest` if it has neither a tag nor a digest.
    pub fn with_default_tag(self) -> Reference {
        if self.is_name_only() {
            Reference {
                tag: Some(DEFAULT_TAG.into()),
                ..self
            }
        } else {
            self
        }
    }

    /// The repository with this tag, and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Reference {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        })
    }

    /// The repository at this digest, and no tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The repository alone.
    pub fn name_only(&self) -> Reference {
        Reference {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    /// Whether both are in the same repository.
    pub fn same_repository(&self, other: &Reference) -> bool {
        self.domain == other.domain && self.path == other.path
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        Reference::parse_normalized(s)
    }
}

/// The full, normalized form.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

/// Whether `s` is 64 hexadecimal digits: an id, which no name may look like.
pub fn is_identifier(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The first element is a domain if it looks like one; anything else is on Docker Hub.
fn split_domain(name: &str) -> (&str, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first == LOCALHOST
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            let domain = if first == LEGACY_DEFAULT_DOMAIN {
                DEFAULT_DOMAIN
            } else {
                first
            };
            (domain, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        (domain, format!("{OFFICIAL_PREFIX}{path}"))
    } else {
        (domain, path.to_owned())
    }
}

fn parse_remainder(domain: &str, remainder: &str) -> Result<Reference, ReferenceError> {
    let (rest, digest) = match remainder.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (remainder, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let well_formed = is_domain(domain)
        && is_path(path)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(looks_like_digest);
    if !well_formed {
        return Err(ReferenceError::Format);
    }
    if path.len() > PATH_MAX {
        return Err(ReferenceError::TooLong);
    }
    Ok(Reference {
        domain: domain.into(),
        path: path.into(),
        tag: tag.map(Into::into),
        digest: digest.map(str::parse).transpose()?,
    })
}

fn is_domain(s: &str) -> bool {
    let (host, port) = match s.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, tail)) if !v6.is_empty() => {
                let literal = v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                if !literal {
                    return false;
                }
                match tail.strip_prefix(':') {
                    Some(port) => (None, Some(port)),
                    None if tail.is_empty() => (None, None),
                    None => return false,
                }
            }
            _ => return false,
        },
        None => match s.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(s), None),
        },
    };
    let port_fits = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    port_fits && host.is_none_or(|h| h.split('.').all(is_domain_component))
}

fn is_domain_component(s: &str) -> bool {
    !s.is_empty()
        && !s.starts_with('-')
        && !s.ends_with('-')
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether `s` is a repository's path within its registry.
pub fn is_path(s: &str) -> bool {
    s.split('/').all(is_path_component)
}

/// Runs of `[a-z0-9]`, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(s: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = s.as_bytes();
    let ends_fit = bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b));
    ends_fit
        && bytes
            .split(|b| alphanumeric(*b))
            .all(|separator| match separator {
                b"" | b"." | b"_" | b"__" => true,
                other => other.iter().all(|b| *b == b'-'),
            })
}

/// Whether `s` is a tag.
pub fn is_tag(s: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    s.len() <= TAG_MAX
        && s.bytes().next().is_some_and(word)
        && s.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// The reference grammar's idea of a digest, which admits algorithms that no one has registered.
fn looks_like_digest(s: &str) -> bool {
    let Some((algorithm, hex)) = s.split_once(':') else {
        return false;
    };
    let algorithm_fits = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    algorithm_fits && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn familiar(s: &str) -> String {
        Reference::parse_normalized(s).unwrap().familiar()
    }

    fn error(s: &str) -> String {
        Reference::parse_normalized(s).unwrap_err().to_string()
    }

    #[test]
    fn short_names_mean_docker_hub() {
        for (given, full, short) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            (
                "index.docker.io/library/busybox",
                "docker.io/library/busybox",
                "busybox",
            ),
            ("me/app:1.0", "docker.io/me/app:1.0", "me/app:1.0"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("localhost/app", "localhost/app", "localhost/app"),
            (
                "localhost:5000/app",
                "localhost:5000/app",
                "localhost:5000/app",
            ),
            ("[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"),
            ("GHCR/app", "GHCR/app", "GHCR/app"),
            ("a.b/c--d__e.f", "a.b/c--d__e.f", "a.b/c--d__e.f"),
        ] {
            let r = Reference::parse_normalized(given).unwrap();
            assert_eq!(r.to_string(), full);
            assert_eq!(r.familiar(), short);
        }
    }

    #[test]
    fn errors_read_as_dockers() {
        assert_eq!(
            error("Foo"),
            "invalid reference format: repository name (library/Foo) must be lowercase"
        );
        for bad in [
            "",
            "a:",
            "a@",
            ":tag",
            "a//b",
            "-a",
            "a_-b",
            "a...b",
            "a/b:c/d",
            "a b",
            "a:-x",
            "http://x/y",
            "a@sha256:00",
        ] {
            assert_eq!(error(bad), "invalid reference format", "{bad:?}");
        }
        assert_eq!(
            error(&"a".repeat(256)),
            "repository name must not be more than 255 characters"
        );
        let id = "ab".repeat(32);
        assert_eq!(
            error(&id),
            format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings")
        );
        assert_eq!(
            error(&format!("a@sha256:{}", "0".repeat(63))),
            "invalid checksum digest length"
        );
        assert_eq!(
            error(&format!("a@md5:{}", "0".repeat(32))),
            "unsupported digest algorithm"
        );
    }

    #[test]
    fn the_default_tag_is_added_only_where_nothing_else_is() {
        let tagged = |s: &str| Reference::parse_normalized(s).unwrap().with_default_tag();
        assert_eq!(tagged("a").familiar(), "a:latest");
        assert_eq!(tagged("a:b").familiar(), "a:b");
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert_eq!(tagged(&digest).familiar(), digest);
    }

    #[test]
    fn a_tag_is_at_most_128_bytes() {
        assert_eq!(familiar(&format!("a:{}", "t".repeat(128))).len(), 130);
        assert_eq!(
            error(&format!("a:{}", "t".repeat(129))),
            "invalid reference format"
        );
    }

    proptest! {
        #[test]
        fn any_input_is_refused_or_round_trips(s in "\\PC{0,40}") {
            if let Ok(r) = Reference::parse_normalized(&s) {
                prop_assert_eq!(&Reference::parse_normalized(&r.to_string()).unwrap(), &r);
                prop_assert_eq!(&Reference::parse_normalized(&r.familiar()).unwrap(), &r);
            }
        }

        #[test]
        fn what_the_grammar_makes_is_accepted(
            s in "([a-z0-9]{1,5}(\\.[a-z0-9]{1,5}){1,2}(:[0-9]{1,5})?/)?[a-z0-9]{1,6}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,2}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,12})?(@sha256:[0-9a-f]{64})?"
        ) {
            let r = Reference::parse_normalized(&s);
            prop_assert!(r.is_ok(), "{s}: {r:?}");
            let r = r.unwrap();
            prop_assert_eq!(Reference::parse_normalized(&r.familiar()).unwrap(), r);
        }
    }
}
