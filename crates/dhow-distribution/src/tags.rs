//! The tags of a repository (OCI distribution specification, "Listing Tags").

use dhow_oci::{DOCUMENT_MAX, Reference};
use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;

use crate::auth::Auth;
use crate::client::Client;
use crate::endpoint::Kind;
use crate::error::{DistributionError, Result};
use crate::manifests;
use crate::session::Session;

/// More are not taken from a registry.
const TAGS_MAX: usize = 100_000;

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, in the registry's order.
    pub async fn tags(&self, repository: &Reference, auth: Option<&Auth>) -> Result<Vec<String>> {
        let scope = format!("repository:{}:pull", repository.path());
        let mut failure = None;
        for endpoint in self.endpoints(repository.domain()) {
            let kind = endpoint.kind;
            let session = self.session(endpoint, auth, vec![scope.clone()]);
            match list(&session, repository.path()).await {
                Ok(tags) => return Ok(tags),
                Err(e @ DistributionError::Unreachable(_)) => {
                    failure.get_or_insert(e);
                }
                Err(e) if kind == Kind::Registry => {
                    return Err(manifests::explain(e, repository));
                }
                // A mirror need not have it.
                Err(e) => {
                    failure.get_or_insert(manifests::explain(e, repository));
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            DistributionError::Unreachable(format!(
                "no registry to ask for {}",
                repository.familiar()
            ))
        }))
    }
}

async fn list(session: &Session, path: &str) -> Result<Vec<String>> {
    let mut tags = Vec::new();
    let mut page = Some(format!("{path}/tags/list"));
    while let Some(path) = page {
        let response = session.get(&path, HeaderMap::new()).await?;
        let link = response.headers().get(LINK);
        page = link.and_then(|link| next(link.to_str().ok()?));
        let bytes = session.read(response, DOCUMENT_MAX as usize).await?;
        let listed: Listed = serde_json::from_slice(&bytes).map_err(|e| {
            DistributionError::Invalid(format!("the registry's list of tags can't be read: {e}"))
        })?;
        let some = listed.tags.unwrap_or_default();
        // A page without any leads nowhere.
        if some.is_empty() {
            break;
        }
        tags.extend(some);
        if tags.len() > TAGS_MAX {
            return Err(DistributionError::Invalid(format!(
                "the repository has more than {TAGS_MAX} tags"
            )));
        }
    }
    Ok(tags)
}

/// The path of the next page, of `</v2/PATH?last=x&n=100>; rel="next"`; the rest of the address is the registry's own.
fn next(link: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.contains("next") {
        return None;
    }
    let (_, path) = target.split_once("/v2/")?;
    Some(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_told_by_a_link() {
        for (link, expected) in [
            (
                r#"</v2/a/b/tags/list?last=x&n=2>; rel="next""#,
                Some("a/b/tags/list?last=x&n=2"),
            ),
            (
                r#"<https://r/v2/a/tags/list?last=y>; rel=next"#,
                Some("a/tags/list?last=y"),
            ),
            (r#"</v2/a/tags/list>; rel="prev""#, None),
            ("nonsense", None),
        ] {
            assert_eq!(next(link).as_deref(), expected, "{link}");
        }
    }
}
