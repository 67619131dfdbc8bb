//! Platforms: `linux/arm64/v8`.
//!
//! Parsing, normalization and matching follow containerd's `platforms` package, so that an index
//! yields the same manifest here as on any other engine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlatformError {
    #[error("{0:?}: wildcards not yet supported: invalid argument")]
    Wildcard(String),
    #[error(
        "{component:?} is an invalid component of {specifier:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component {
        component: String,
        specifier: String,
    },
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Malformed(String),
}

/// A platform as in an index's descriptor or an image's configuration (OCI image-index.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "crate::absent::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Platform::default()
        }
    }

    /// The platform of this machine's containers.
    pub fn host() -> Platform {
        let (architecture, variant) = normalize_architecture(std::env::consts::ARCH, "");
        Platform::new("linux", &architecture, &variant)
    }

    pub fn normalized(&self) -> Platform {
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        Platform {
            os: normalize_os(&self.os),
            architecture,
            variant,
            ..self.clone()
        }
    }

    /// What a machine of this platform can run, best first: its own kind, then the older variants and
    /// the 32-bit kind that it runs, too.
    pub fn matcher(&self) -> Matcher {
        let own = self.normalized();
        let with = |architecture: &str, variant: String| Platform {
            os_version: String::new(),
            os_features: Vec::new(),
            ..Platform::new(&own.os, architecture, &variant)
        };
        let mut accepted = vec![own.clone()];
        let older = |from: u32, to: u32| (to..from).rev();
        match own.architecture.as_str() {
            "amd64" => {
                if let Some(level) = variant_number(&own.variant) {
                    accepted.extend(older(level, 1).map(|v| with("amd64", format!("v{v}"))));
                }
                accepted.push(with("386", String::new()));
            }
            "arm" => {
                if let Some(level) = variant_number(&own.variant) {
                    accepted.extend(older(level, 5).map(|v| with("arm", format!("v{v}"))));
                }
            }
            "arm64" => {
                let level = variant_number(&own.variant).unwrap_or(8);
                accepted.extend(older(level, 8).map(|v| with("arm64", format!("v{v}"))));
                accepted.extend(older(9, 5).map(|v| with("arm", format!("v{v}"))));
            }
            _ => {}
        }
        Matcher {
            accepted: accepted.iter().map(Platform::normalized).collect(),
        }
    }
}

/// See [`Platform::matcher`].
#[derive(Clone, Debug)]
pub struct Matcher {
    accepted: Vec<Platform>,
}

impl Matcher {
    /// The rank of `platform`, 0 being the best; `None` if it doesn't run here.
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        let candidate = platform.normalized();
        self.accepted.iter().position(|a| {
            a.os == candidate.os
                && a.architecture == candidate.architecture
                && a.variant == candidate.variant
                && (a.os_version.is_empty() || a.os_version == candidate.os_version)
        })
    }

    pub fn matches(&self, platform: &Platform) -> bool {
        self.rank(platform).is_some()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(specifier: &str) -> Result<Self, PlatformError> {
        if specifier.contains('*') {
            return Err(PlatformError::Wildcard(specifier.to_owned()));
        }
        let parts: Vec<&str> = specifier.split('/').collect();
        for component in &parts {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if component.is_empty() || !component.bytes().all(fits) {
                return Err(PlatformError::Component {
                    component: (*component).to_owned(),
                    specifier: specifier.to_owned(),
                });
            }
        }
        match parts[..] {
            [os] if KNOWN_OS.contains(&normalize_os(os).as_str()) => Ok(Platform {
                os: normalize_os(os),
                ..Platform::host()
            }),
            [architecture] => {
                let (architecture, mut variant) = normalize_architecture(architecture, "");
                if !KNOWN_ARCHITECTURES.contains(&architecture.as_str()) {
                    return Err(PlatformError::Unknown(specifier.to_owned()));
                }
                if architecture == "arm" && variant == "v7" {
                    variant.clear();
                }
                Ok(Platform::new("linux", &architecture, &variant))
            }
            [os, architecture] => {
                let (architecture, mut variant) = normalize_architecture(architecture, "");
                if architecture == "arm" && variant == "v7" {
                    variant.clear();
                }
                Ok(Platform::new(&normalize_os(os), &architecture, &variant))
            }
            [os, architecture, variant] => {
                let (architecture, mut variant) = normalize_architecture(architecture, variant);
                if architecture == "arm64" && variant.is_empty() {
                    variant.push_str("v8");
                }
                Ok(Platform::new(&normalize_os(os), &architecture, &variant))
            }
            _ => Err(PlatformError::Malformed(specifier.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const KNOWN_ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

fn normalize_os(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "" => "linux".to_owned(),
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_lowercase();
    let variant = variant.to_lowercase();
    let (architecture, variant) = match architecture.as_str() {
        "i386" | "x86" => ("386", ""),
        "x86_64" | "x86-64" | "amd64" => ("amd64", if variant == "v1" { "" } else { &*variant }),
        "aarch64" | "arm64" => (
            "arm64",
            match variant.as_str() {
                "8" | "v8" | "v8.0" => "",
                "9" | "9.0" | "v9.0" => "v9",
                other => other,
            },
        ),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        "arm" => (
            "arm",
            match variant.as_str() {
                "" | "7" => "v7",
                "5" => "v5",
                "6" => "v6",
                "8" => "v8",
                other => other,
            },
        ),
        "loongarch64" => ("loong64", &*variant),
        "powerpc64" => ("ppc64", &*variant),
        "powerpc64le" => ("ppc64le", &*variant),
        other => (other, &*variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

/// 7 for `v7`; bounded so that a hostile `v4000000000` does not make a long list.
fn variant_number(variant: &str) -> Option<u32> {
    let number = variant.strip_prefix('v')?.parse().ok()?;
    (number <= 16).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(s: &str) -> String {
        s.parse::<Platform>().unwrap().to_string()
    }

    #[test]
    fn parses_and_normalizes() {
        for (given, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm", "linux/arm"),
            ("linux/armhf", "linux/arm"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(parse(given), expected, "{given}");
        }
        assert_eq!(parse("linux").split('/').next(), Some("linux"));
    }

    #[test]
    fn refuses_with_dockers_words() {
        let error = |s: &str| s.parse::<Platform>().unwrap_err().to_string();
        assert_eq!(
            error("foo"),
            "\"foo\": unknown operating system or architecture: invalid argument"
        );
        assert_eq!(
            error("a/b/c/d"),
            "\"a/b/c/d\": cannot parse platform specifier: invalid argument"
        );
        assert!(error("linux/").contains("is an invalid component of \"linux/\""));
        assert!(error("linux/*").contains("wildcards"));
    }

    #[test]
    fn prefers_the_nearest_variant() {
        let m = "linux/arm64".parse::<Platform>().unwrap().matcher();
        let rank = |s: &str| m.rank(&s.parse().unwrap());
        assert_eq!(rank("linux/arm64/v8"), Some(0));
        assert!(rank("linux/arm/v7") < rank("linux/arm/v6"));
        assert_eq!(rank("linux/amd64"), None);
        assert_eq!(rank("windows/arm64"), None);

        let m = "linux/arm/v6".parse::<Platform>().unwrap().matcher();
        assert!(m.matches(&Platform::new("linux", "arm", "v5")));
        assert!(!m.matches(&Platform::new("linux", "arm", "v7")));

        let m = "linux/amd64".parse::<Platform>().unwrap().matcher();
        assert_eq!(m.rank(&Platform::new("linux", "386", "")), Some(1));
        assert!(!m.matches(&Platform::new("linux", "amd64", "v3")));
    }

    proptest! {
        #[test]
        fn any_input_is_refused_or_matches_itself(s in "[a-z0-9_./*-]{0,24}") {
            if let Ok(p) = s.parse::<Platform>() {
                prop_assert_eq!(p.matcher().rank(&p), Some(0));
                prop_assert_eq!(p.normalized().normalized(), p.normalized());
            }
        }
    }
}
