//! Where a registry's API is: the mirrors of docker.io first, then the registry, over TLS, then what an
//! exception allows.

use http::Uri;

use crate::config::{Config, Insecure};
use crate::error::{DistributionError, Result};
use dhow_oci::reference::DEFAULT_DOMAIN;

/// Docker Hub's registry has a host of its own.
const HUB: &str = "registry-1.docker.io";
/// The name that the in-process registry is connected by; RFC 6761 keeps it out of the DNS.
pub(crate) const EMBEDDED: &str = "embedded.invalid";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, authority and, for a mirror, a path; without a slash at its end.
    pub base: String,
    pub authority: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mirror,
    Registry,
    Embedded,
}

impl Endpoint {
    fn new(scheme: &str, authority: &str, kind: Kind) -> Endpoint {
        Endpoint {
            base: format!("{scheme}://{authority}"),
            authority: authority.to_owned(),
            kind,
        }
    }

    pub fn is_plain(&self) -> bool {
        self.base.starts_with("http:")
    }

    pub fn url(&self, path: &str) -> Result<Uri> {
        format!("{}/v2/{path}", self.base)
            .parse()
            .map_err(|e| DistributionError::Invalid(format!("invalid registry address: {e}")))
    }
}

/// Mirrors, checked.
pub(crate) fn mirrors(config: &Config) -> Result<Vec<Endpoint>> {
    let parse = |mirror: &String| {
        let bad =
            |why: &str| DistributionError::Invalid(format!("invalid mirror: {mirror:?}: {why}"));
        let uri: Uri = mirror.parse().map_err(|_| bad("not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme,
            _ => return Err(bad("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it must not have a user"));
        }
        if uri.query().is_some() {
            return Err(bad("it must not have a query"));
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Endpoint {
            base: format!("{scheme}://{authority}{path}"),
            authority: authority.to_string(),
            kind: Kind::Mirror,
        })
    };
    config.mirrors.iter().map(parse).collect()
}

/// The endpoints of the registry itself, in the order in which they are tried.
pub(crate) fn registry(domain: &str, insecure: &Insecure) -> Vec<Endpoint> {
    let authority = if domain == DEFAULT_DOMAIN {
        HUB
    } else {
        domain
    };
    let mut endpoints = vec![Endpoint::new("https", authority, Kind::Registry)];
    if insecure.contains(authority) {
        endpoints.push(Endpoint::new("http", authority, Kind::Registry));
    }
    endpoints
}

pub(crate) fn embedded() -> Endpoint {
    Endpoint::new("http", EMBEDDED, Kind::Embedded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_comes_first_and_plain_http_needs_an_exception() {
        let insecure = Insecure::default();
        let bases = |domain: &str| -> Vec<String> {
            registry(domain, &insecure)
                .into_iter()
                .map(|e| e.base)
                .collect()
        };
        assert_eq!(bases("docker.io"), ["https://registry-1.docker.io"]);
        assert_eq!(bases("ghcr.io"), ["https://ghcr.io"]);
        assert_eq!(
            bases("localhost:5000"),
            ["https://localhost:5000", "http://localhost:5000"]
        );
    }

    #[test]
    fn a_bad_mirror_is_named() {
        for bad in [
            "mirror",
            "ftp://mirror",
            "https://u@mirror",
            "https://mirror/?x",
        ] {
            let config = Config {
                mirrors: vec![bad.into()],
                ..Config::default()
            };
            let error = mirrors(&config).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
