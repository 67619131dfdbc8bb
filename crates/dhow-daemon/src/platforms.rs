//! The platforms that a query asks for: each an OCI platform as JSON.

use dhow_api::ApiVersion;
use dhow_oci::Platform;

use crate::error::{ApiError, Result};
use crate::query::Params;

/// The first version with a platform here, and the first that takes several.
const ONE: u16 = 48;
const SEVERAL: u16 = 52;

/// What `platform` asks for; older versions know none.
pub fn asked(params: &Params, api: ApiVersion) -> Result<Vec<Platform>> {
    if api < ApiVersion::v1(ONE) {
        return Ok(Vec::new());
    }
    let texts: Vec<&str> = params.all("platform").filter(|t| !t.is_empty()).collect();
    if texts.len() > 1 && api < ApiVersion::v1(SEVERAL) {
        return Err(ApiError::bad(
            "multiple platform parameters are not supported in this API version; use API version 1.52 or later",
        ));
    }
    texts.into_iter().map(parse).collect()
}

/// The one platform that a parameter asks for, in this version of the API and newer ones.
pub fn one(params: &Params, name: &str, api: ApiVersion, since: u16) -> Result<Option<Platform>> {
    match params.text(name) {
        Some(text) if api >= ApiVersion::v1(since) => parse(text).map(Some),
        _ => Ok(None),
    }
}

/// All that `platforms` asks for, since 1.50.
pub fn to_remove(params: &Params, api: ApiVersion) -> Result<Vec<Platform>> {
    if api < ApiVersion::v1(50) {
        return Ok(Vec::new());
    }
    params.all("platforms").map(parse).collect()
}

fn parse(text: &str) -> Result<Platform> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|e| ApiError::bad(format!("failed to parse platform: {e}")))?;
    let optional = !platform.variant.is_empty()
        || !platform.os_version.is_empty()
        || !platform.os_features.is_empty();
    match (platform.os.is_empty(), platform.architecture.is_empty()) {
        (false, false) => Ok(platform),
        (true, true) if optional => Err(ApiError::bad(
            "optional platform components provided, but OS and Architecture are empty",
        )),
        _ => Err(ApiError::bad("both OS and Architecture must be provided")),
    }
}
