//! Names of images as people type them (distribution's reference grammar). The daemon decides what a
//! name means; here it is only taken apart, to split its tag off and to say early that it is none.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As it was typed, without tag and digest.
    pub name: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be longer than 255 characters")]
    TooLong,
}

const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

fn is_domain(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.starts_with('[')
}

fn valid_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_ok =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        }),
    };
    port_ok && host_ok
}

/// Lower case words with `.`, `_`, `__` or hyphens between them.
fn valid_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [bytes.first(), bytes.last()];
    if !ends.iter().all(|end| end.is_some_and(|b| word(*b))) {
        return false;
    }
    bytes
        .split(|b| word(*b))
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn valid_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_LIMIT
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn valid_digest(text: &str) -> bool {
    match text.split_once(':') {
        Some((algorithm, hex)) => {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        }
        None => false,
    }
}

impl Reference {
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if valid_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(ReferenceError::Format),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = match name.split_once('/') {
            Some((first, path)) if is_domain(first) => (Some(first), path),
            _ => (None, name),
        };
        if domain.is_some_and(|domain| !valid_domain(domain)) {
            return Err(ReferenceError::Format);
        }
        if path.chars().any(char::is_uppercase) {
            let hub = domain.is_none() && !path.contains('/');
            let library = if hub { "library/" } else { "" };
            return Err(ReferenceError::Uppercase(format!("{library}{path}")));
        }
        if !path.split('/').all(valid_component) {
            return Err(ReferenceError::Format);
        }
        if name.len() > NAME_LIMIT {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// With `latest` where there is neither a tag nor a digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The name in its short form.
    pub fn familiar_name(&self) -> &str {
        let name = self
            .name
            .strip_prefix("docker.io/")
            .or_else(|| self.name.strip_prefix("index.docker.io/"))
            .unwrap_or(&self.name);
        name.strip_prefix("library/").unwrap_or(name)
    }

    /// The name in its long form, with its registry.
    pub fn canonical_name(&self) -> String {
        match self.name.split_once('/') {
            Some((first, _))
                if is_domain(first) && first != "docker.io" && first != "index.docker.io" =>
            {
                self.name.clone()
            }
            _ => {
                let familiar = self.familiar_name();
                match familiar.contains('/') {
                    true => format!("docker.io/{familiar}"),
                    false => format!("docker.io/library/{familiar}"),
                }
            }
        }
    }

    /// What the API calls the tag of a pull: the digest, if there is one.
    pub fn tag_or_digest(&self) -> Option<&str> {
        self.digest.as_deref().or(self.tag.as_deref())
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}"));
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }

    pub fn canonical(&self) -> String {
        self.canonical_name() + &self.suffix()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.familiar_name(), self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_taken_apart() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, name, tag, short, long) in [
            (
                "busybox",
                "busybox",
                None,
                "busybox",
                "docker.io/library/busybox",
            ),
            (
                "busybox:1.36",
                "busybox",
                Some("1.36"),
                "busybox:1.36",
                "docker.io/library/busybox:1.36",
            ),
            (
                "docker.io/library/busybox",
                "docker.io/library/busybox",
                None,
                "busybox",
                "docker.io/library/busybox",
            ),
            (
                "localhost:5000/a/b:x",
                "localhost:5000/a/b",
                Some("x"),
                "localhost:5000/a/b:x",
                "localhost:5000/a/b:x",
            ),
            ("me/app", "me/app", None, "me/app", "docker.io/me/app"),
            (
                "a__b/c.d-e---f",
                "a__b/c.d-e---f",
                None,
                "a__b/c.d-e---f",
                "docker.io/a__b/c.d-e---f",
            ),
        ] {
            let parsed = Reference::parse(text).unwrap();
            assert_eq!(parsed.name, name);
            assert_eq!(parsed.tag.as_deref(), tag);
            assert_eq!(parsed.to_string(), short);
            assert_eq!(parsed.canonical(), long);
        }
        let pinned = Reference::parse(&format!("busybox:1@{digest}")).unwrap();
        assert_eq!(pinned.tag_or_digest(), Some(digest.as_str()));
        assert_eq!(
            Reference::parse("x")
                .unwrap()
                .with_default_tag()
                .to_string(),
            "x:latest"
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            ":",
            "a:",
            "a:-",
            "-a",
            "a-",
            "a..b",
            "a/_b",
            "/a",
            "a/",
            "a b",
            "a@sha256:0",
            "a@b",
            "http://x/y",
            "a:b/c",
            "x_:1",
            "a___b",
        ] {
            assert_eq!(Reference::parse(bad), Err(ReferenceError::Format), "{bad}");
        }
        assert_eq!(
            Reference::parse("Busybox"),
            Err(ReferenceError::Uppercase("library/Busybox".into()))
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(text in "[a-z0-9./:@_-]{1,30}") {
            if let Ok(reference) = Reference::parse(&text) {
                let shown = Reference::parse(&reference.to_string()).unwrap();
                prop_assert_eq!(shown.canonical(), reference.canonical());
            }
        }
    }
}
