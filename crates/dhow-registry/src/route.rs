//! Which endpoint a path names (distribution specification, "Endpoints"). A repository's name has slashes and
//! may itself contain `blobs` or `manifests`, so a path is read from its end.

use dhow_oci::Digest;
use percent_encoding::percent_decode_str;

use crate::storage::UploadId;
use crate::{RegistryError, RepositoryName, TagOrDigest};

#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    Base,
    Catalog,
    Tags(RepositoryName),
    Manifest(RepositoryName, TagOrDigest),
    Referrers(RepositoryName, Digest),
    Blob(RepositoryName, Digest),
    Uploads(RepositoryName),
    Upload(RepositoryName, UploadId),
}

impl Route {
    pub fn parse(path: &str) -> Result<Route, RegistryError> {
        let unknown = || RegistryError::NoRoute(path.to_owned());
        let decoded = percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| unknown())?;
        let rest = match decoded.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Route::Base),
            Some(rest) => rest.strip_prefix('/').ok_or_else(unknown)?,
            None => return Err(unknown()),
        };
        if rest == "_catalog" {
            return Ok(Route::Catalog);
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Ok(Route::Tags(name.parse()?));
        }
        if let Some(name) = rest
            .strip_suffix("/blobs/uploads/")
            .or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Ok(Route::Uploads(name.parse()?));
        }
        let (head, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(name) = head.strip_suffix("/manifests") {
            return Ok(Route::Manifest(name.parse()?, last.parse()?));
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Ok(Route::Referrers(name.parse()?, last.parse()?));
        }
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let name = name.parse()?;
            let id = last
                .parse()
                .map_err(|_| RegistryError::UploadUnknown(last.to_owned()))?;
            return Ok(Route::Upload(name, id));
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            return Ok(Route::Blob(name.parse()?, last.parse()?));
        }
        Err(unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::sha256(b"");
        let name = |s: &str| s.parse::<RepositoryName>().unwrap();
        assert_eq!(Route::parse("/v2/").unwrap(), Route::Base);
        assert_eq!(Route::parse("/v2").unwrap(), Route::Base);
        assert_eq!(
            Route::parse("/v2/a/b/tags/list").unwrap(),
            Route::Tags(name("a/b"))
        );
        assert_eq!(
            Route::parse("/v2/a/blobs/manifests/latest").unwrap(),
            Route::Manifest(name("a/blobs"), "latest".parse().unwrap())
        );
        assert_eq!(
            Route::parse(&format!("/v2/manifests/tags/blobs/{digest}")).unwrap(),
            Route::Blob(name("manifests/tags"), digest.clone())
        );
        assert_eq!(
            Route::parse(&format!("/v2/a%2Fb/blobs/sha256%3A{}", digest.hex())).unwrap(),
            Route::Blob(name("a/b"), digest)
        );
        assert_eq!(
            Route::parse("/v2/a/blobs/uploads/").unwrap(),
            Route::Uploads(name("a"))
        );
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "/v2/../etc/passwd",
            "/v2/a/../../b/manifests/latest",
            "/v2/%2e%2e/%2e%2e/tags/list",
            "/v2/a/blobs/uploads/..%2f..%2fetc",
            "/v2/a/blobs/sha256:..",
            "/v2/a/manifests/sha256:baddigeststring",
            "/v2/a/manifests/..",
            "/v2/A/tags/list",
            "/v2/a%00/tags/list",
            "/v2/%ff/tags/list",
            "/v1/a",
            "/v2x/",
            "",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
