//! Registries, as clients ask the daemon about them: credentials, and what a name means there.

use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use dhow_api::{
    AuthConfig, AuthResponse, Descriptor, DistributionInspect, ImagePlatform, SearchResult,
};
use dhow_distribution::{Auth, DistributionError};
use http::HeaderMap;

use super::{AppState, images};
use crate::error::{ApiError, Result};
use crate::json::{Json, JsonBody};

const HEADER: &str = "x-registry-auth";

/// The credentials that a request carries: URL-safe base64 of a JSON object. What can't be read counts
/// as none, as some clients send junk.
pub fn credentials(headers: &HeaderMap) -> Result<Option<Auth>> {
    let Some(value) = headers.get(HEADER) else {
        return Ok(None);
    };
    let text = value.as_bytes().trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let decoded = URL_SAFE
        .decode(text)
        .or_else(|_| STANDARD.decode(text))
        .or_else(|_| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text))
        .map_err(|e| ApiError::bad(format!("invalid X-Registry-Auth header: {e}")))?;
    if decoded.trim_ascii().is_empty() {
        return Ok(None);
    }
    let config: AuthConfig = dhow_api::read::from_slice(&decoded)
        .map_err(|e| ApiError::bad(format!("invalid X-Registry-Auth header: {e}")))?;
    let auth = auth_of(config)?;
    Ok(Some(auth).filter(|a| *a != Auth::default()))
}

fn auth_of(config: AuthConfig) -> Result<Auth> {
    let mut auth = Auth {
        username: config.username,
        password: config.password,
        identity_token: config.identitytoken,
        registry_token: config.registrytoken,
    };
    if auth.username.is_empty() && !config.auth.is_empty() {
        let decoded = STANDARD
            .decode(config.auth.trim_end_matches('\0'))
            .ok()
            .and_then(|d| String::from_utf8(d).ok())
            .ok_or_else(|| ApiError::bad("invalid auth configuration"))?;
        let (user, password) = decoded
            .split_once(':')
            .ok_or_else(|| ApiError::bad("invalid auth configuration"))?;
        auth.username = user.to_owned();
        auth.password = password.trim_end_matches('\0').to_owned();
    }
    Ok(auth)
}

pub async fn auth(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<AuthConfig>,
) -> Result<Json<AuthResponse>> {
    let config = body.unwrap_or_default();
    let server = config.serveraddress.clone();
    let auth = auth_of(config)?;
    let token = state
        .distribution()
        .login(&server, &auth)
        .await
        .map_err(|e| match e {
            DistributionError::Unauthorized(reason) => ApiError::Unauthorized(reason),
            other => other.into(),
        })?;
    Ok(Json(AuthResponse {
        identity_token: token.unwrap_or_default(),
        status: "Login Succeeded".to_owned(),
    }))
}

/// `GET /distribution/{name}/json`
pub async fn inspect(
    State(state): State<AppState>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Json<DistributionInspect>> {
    let name = path.strip_suffix("/json").ok_or(ApiError::NoSuchPage)?;
    let reference = images::reference(name, None)?;
    let auth = credentials(&headers)?;
    let found = state
        .distribution()
        .inspect(&reference, auth.as_ref())
        .await?;
    let d = found.descriptor;
    Ok(Json(DistributionInspect {
        descriptor: Descriptor {
            media_type: d.media_type,
            digest: d.digest.to_string(),
            size: d.size as i64,
            ..Descriptor::default()
        },
        platforms: found
            .platforms
            .into_iter()
            .map(|p| ImagePlatform {
                architecture: p.architecture,
                os: p.os,
                os_version: p.os_version,
                os_features: p.os_features,
                variant: p.variant,
            })
            .collect(),
    }))
}

/// Docker Hub's search is no part of the registry protocol.
pub async fn search() -> Result<Json<Vec<SearchResult>>> {
    Err(ApiError::NotImplemented(
        "searching Docker Hub is not supported: look at https://hub.docker.com/search instead"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn header(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(HEADER),
            HeaderValue::from_str(text).unwrap(),
        )])
    }

    #[test]
    fn credentials_come_in_several_shapes() {
        let json = r#"{"username":"u","password":"p?>~","serveraddress":"x"}"#;
        for encoded in [URL_SAFE.encode(json), STANDARD.encode(json)] {
            let auth = credentials(&header(&encoded)).unwrap().unwrap();
            assert_eq!(
                (auth.username.as_str(), auth.password.as_str()),
                ("u", "p?>~")
            );
        }
        let combined = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("u:p:q"));
        let auth = credentials(&header(&URL_SAFE.encode(combined)))
            .unwrap()
            .unwrap();
        assert_eq!(auth.password, "p:q");
        for none in ["", "e30=", &URL_SAFE.encode("null")] {
            assert_eq!(credentials(&header(none)).unwrap(), None, "{none}");
        }
        assert!(credentials(&header("!!")).is_err());
    }
}
