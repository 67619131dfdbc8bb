//! Repository names, tags and references as the distribution specification writes them ("Pulling manifests").
//! A value of these types is well formed, so it is also safe as a path below the registry's root.

use std::fmt;
use std::str::FromStr;

use dhow_oci::Digest;

use crate::RegistryError;

/// Clients limit host, slash and name together to 255 characters.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A repository's name, such as `library/busybox`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Box<str>);

impl RepositoryName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = RegistryError;

    fn from_str(s: &str) -> Result<Self, RegistryError> {
        if s.len() > NAME_MAX || !s.split('/').all(is_component) {
            return Err(RegistryError::NameInvalid(s.to_owned()));
        }
        Ok(RepositoryName(s.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(s: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = s.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| is_word(b)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|b| !is_word(b)).count();
        let well_formed = match &rest[..separator] {
            b"." | b"_" | b"__" => true,
            dashes => dashes.iter().all(|b| *b == b'-'),
        };
        if !well_formed {
            return false;
        }
        rest = &rest[separator..];
    }
}

/// A tag, such as `latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = RegistryError;

    /// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
    fn from_str(s: &str) -> Result<Self, RegistryError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let well_formed = s.len() <= TAG_MAX
            && s.bytes().next().is_some_and(word)
            && s.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if !well_formed {
            return Err(RegistryError::TagInvalid(s.to_owned()));
        }
        Ok(Tag(s.into()))
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOrDigest {
    Tag(Tag),
    Digest(Digest),
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagOrDigest::Tag(tag) => tag.fmt(f),
            TagOrDigest::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for TagOrDigest {
    type Err = RegistryError;

    fn from_str(s: &str) -> Result<Self, RegistryError> {
        // A tag has no colon, a digest always has.
        if s.contains(':') {
            Ok(TagOrDigest::Digest(s.parse()?))
        } else {
            Ok(TagOrDigest::Tag(s.parse()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in [
            "a",
            "library/busybox",
            "a.b_c__d-e---f/0/1",
            "x/blobs/uploads",
        ] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "..", "a/../b", "a..b", "a___b", "a._b", "-a", "a-",
            "_a", "a b", "a\0b", "é", &long,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "1.2.3-rc.1", "_", "A_b"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".", "..", "-a", "a/b", "a:b", "a\n", "é", &long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?}");
        }
    }
}
