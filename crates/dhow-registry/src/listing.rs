//! Listings, a page at a time: tags, repositories, referrers (distribution specification, "Content
//! Discovery"; `_catalog` is Docker's).

use dhow_oci::Digest;
use dhow_oci::media_type::OCI_INDEX;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use http::{Response, StatusCode, Uri};
use serde_json::json;

use crate::body::{Body, json_response};
use crate::error::insert;
use crate::query::{Query, next_link};
use crate::service::Registry;
use crate::storage::Storage;
use crate::{RegistryError, RepositoryName};

/// Names in a page, if the client doesn't ask for fewer.
const NAMES_MAX: usize = 10_000;
/// Referrers in a page: each may carry many annotations.
const REFERRERS_MAX: usize = 500;
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl<S: Storage> Registry<S> {
    pub(crate) async fn list_tags(
        &self,
        uri: &Uri,
        repository: &RepositoryName,
    ) -> Result<Response<Body>, RegistryError> {
        let query = Query::of(uri);
        let n = query.page_size(NAMES_MAX)?;
        let page = self
            .storage()
            .tags(repository, query.get("last"), n)
            .await?
            .ok_or_else(|| RegistryError::NameUnknown(repository.to_string()))?;
        let mut response = json_response(
            StatusCode::OK,
            &json!({"name": repository.as_str(), "tags": page.items}),
        );
        if let (true, Some(last)) = (page.more, page.items.last()) {
            let link = next_link(&format!("/v2/{repository}/tags/list"), n, last, None);
            insert(response.headers_mut(), LINK, link);
        }
        Ok(response)
    }

    pub(crate) async fn catalog(&self, uri: &Uri) -> Result<Response<Body>, RegistryError> {
        let query = Query::of(uri);
        let n = query.page_size(NAMES_MAX)?;
        let page = self.storage().repositories(query.get("last"), n).await?;
        let mut response = json_response(StatusCode::OK, &json!({"repositories": page.items}));
        if let (true, Some(last)) = (page.more, page.items.last()) {
            insert(
                response.headers_mut(),
                LINK,
                next_link("/v2/_catalog", n, last, None),
            );
        }
        Ok(response)
    }

    pub(crate) async fn list_referrers(
        &self,
        uri: &Uri,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Response<Body>, RegistryError> {
        let query = Query::of(uri);
        let n = query.page_size(REFERRERS_MAX)?;
        let artifact_type = query.get("artifactType").filter(|s| !s.is_empty());
        let after = query.get("last").map(str::parse).transpose()?;
        let page = self
            .storage()
            .referrers(repository, subject, artifact_type, after.as_ref(), n)
            .await?;
        let mut response = json_response(
            StatusCode::OK,
            &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.items}),
        );
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
        if artifact_type.is_some() {
            headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let (true, Some(last)) = (page.more, page.items.last()) {
            let path = format!("/v2/{repository}/referrers/{subject}");
            let filter = artifact_type.map(|t| ("artifactType", t));
            insert(
                headers,
                LINK,
                next_link(&path, n, &last.digest.to_string(), filter),
            );
        }
        Ok(response)
    }
}
