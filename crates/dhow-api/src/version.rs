//! The API's versions and the rule for a version that this daemon does not speak (Engine API,
//! "Versioning").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of the Engine API, such as 1.51. Ordered by number, so that 1.9 comes before 1.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest version that is understood.
    pub const MIN: ApiVersion = ApiVersion::v1(24);
    /// The newest version that is understood, and the one of paths without a version.
    pub const MAX: ApiVersion = ApiVersion::v1(56);

    pub const fn v1(minor: u16) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }

    /// Refuses a version outside of [`ApiVersion::MIN`] to [`ApiVersion::MAX`].
    pub fn check(self) -> Result<ApiVersion, VersionError> {
        if self < ApiVersion::MIN {
            Err(VersionError::TooOld(self))
        } else if self > ApiVersion::MAX {
            Err(VersionError::TooNew(self))
        } else {
            Ok(self)
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = VersionError;

    /// Reads `1.51`, without a leading `v`.
    fn from_str(text: &str) -> Result<ApiVersion, VersionError> {
        let malformed = || VersionError::Malformed(text.to_owned());
        let number = |part: &str| {
            // `parse` would also take a sign.
            if part.bytes().all(|b| b.is_ascii_digit()) {
                part.parse().map_err(|_| malformed())
            } else {
                Err(malformed())
            }
        };
        let (major, minor) = text.split_once('.').ok_or_else(malformed)?;
        Ok(ApiVersion {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ApiVersion, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Why a version in a path is refused; the texts are Docker's, clients look for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error(
        "client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version",
        min = ApiVersion::MIN
    )]
    TooOld(ApiVersion),
    #[error(
        "client version {0} is too new. Maximum supported API version is {max}",
        max = ApiVersion::MAX
    )]
    TooNew(ApiVersion),
    #[error("invalid API version {0:?}: expected one such as 1.51")]
    Malformed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let parse = |s: &str| s.parse::<ApiVersion>().unwrap();
        assert!(parse("1.9") < parse("1.24"));
        assert_eq!(parse("1.56"), ApiVersion::MAX);
        for bad in ["", "1", "v1.51", "1.", ".1", "1.+5", "1.5.1", "1.99999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_outside_are_refused_in_dockers_words() {
        assert_eq!(
            ApiVersion::v1(23).check().unwrap_err().to_string(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(
            ApiVersion::v1(99).check().unwrap_err().to_string(),
            "client version 1.99 is too new. Maximum supported API version is 1.56"
        );
        assert!(ApiVersion::v1(24).check().is_ok());
        assert!(ApiVersion::v1(56).check().is_ok());
    }
}
