//! The version in a request's path: `/v1.51/containers/json`, or none for the newest.

use axum::extract::FromRequestParts;
use dhow_api::ApiVersion;
use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::error::{ApiError, Result};

/// The version that a request speaks, which [`split`] found.
#[derive(Clone, Copy, Debug)]
pub struct Api(pub ApiVersion);

impl<S: Send + Sync> FromRequestParts<S> for Api {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Api> {
        Ok(parts
            .extensions
            .get::<Api>()
            .copied()
            .unwrap_or(Api(ApiVersion::MAX)))
    }
}

/// Takes the version out of a path. Fails on one that is not spoken, in Docker's words.
pub fn split(uri: &Uri) -> Result<(ApiVersion, Uri)> {
    let path = uri.path();
    let Some((version, rest)) = path
        .strip_prefix("/v")
        .map(|versioned| versioned.split_at(versioned.find('/').unwrap_or(versioned.len())))
        .filter(|(version, _)| {
            !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        })
    else {
        return Ok((ApiVersion::MAX, uri.clone()));
    };
    let version = version
        .parse::<ApiVersion>()
        .and_then(ApiVersion::check)
        .map_err(|e| ApiError::bad(e.to_string()))?;
    let rest = if rest.is_empty() { "/" } else { rest };
    let path_and_query = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let path_and_query = PathAndQuery::try_from(path_and_query)
        .map_err(|e| ApiError::bad(format!("invalid path: {e}")))?;
    Ok((version, Uri::from(path_and_query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_out_of_the_path() {
        let split = |text: &str| {
            let (version, uri) = split(&text.parse().unwrap()).unwrap();
            (version.minor, uri.to_string())
        };
        assert_eq!(split("/_ping"), (56, "/_ping".into()));
        assert_eq!(split("/v1.30/info?x=%2F"), (30, "/info?x=%2F".into()));
        assert_eq!(split("/v1.41"), (41, "/".into()));
        assert_eq!(split("/volumes"), (56, "/volumes".into()));
        assert_eq!(split("/version"), (56, "/version".into()));
        assert_eq!(split("http://d/v1.24/a%20b"), (24, "/a%20b".into()));
    }

    #[test]
    fn a_version_outside_is_refused() {
        for bad in [
            "/v1.23/info",
            "/v1.57/info",
            "/v2/info",
            "/v1.99999/info",
            "/v.../info",
        ] {
            let error = split(&bad.parse().unwrap()).unwrap_err();
            assert_eq!(error.status(), 400, "{bad}");
        }
    }
}
