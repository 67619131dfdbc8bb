//! Calls on images.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use dhow_api::{
    AuthConfig, DeleteResponse, Filters, HistoryItem, ImageInspect, ImagePruneReport, ImageSummary,
    JsonMessage,
};
use futures_util::Stream;
use http::{HeaderName, HeaderValue};

use serde::de::DeserializeOwned;

use crate::Result;
use crate::body::BodyReader;
use crate::call::{Call, segment};
use crate::client::Client;
use crate::containers::filters_text;
use crate::json_stream::JsonStream;

const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

fn path(name: &str, action: &str) -> String {
    format!("/images/{}{action}", segment(name))
}

impl Call<'_> {
    /// Sends credentials for the registry of the image.
    fn registry_auth(self, auth: Option<&AuthConfig>) -> Self {
        let Some(auth) = auth else {
            return self;
        };
        // Strings always become JSON, and base64 always a header.
        let text = URL_SAFE.encode(serde_json::to_vec(auth).unwrap_or_default());
        match HeaderValue::from_str(&text) {
            Ok(value) => self.header(REGISTRY_AUTH, value),
            Err(_) => self,
        }
    }
}

impl Client {
    /// Pulls `name`, of which `tag` is a tag or a digest; without a tag all tags are pulled.
    pub async fn image_pull(
        &self,
        name: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<JsonMessage>> {
        self.post("/images/create")
            .query("fromImage", name)
            .query_some("tag", tag)
            .query_some("platform", platform)
            .registry_auth(auth)
            .messages()
            .await
    }

    /// Pushes `name`, with a tag or with all of them. Daemons want credentials even if they are empty.
    pub async fn image_push(
        &self,
        name: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        auth: &AuthConfig,
    ) -> Result<JsonStream<JsonMessage>> {
        self.post(path(name, "/push"))
            .query_some("tag", tag)
            .query_some("platform", platform)
            .registry_auth(Some(auth))
            .messages()
            .await
    }

    /// Makes an image of a tar archive: what `source` names (a URL), or what `archive` yields (`-`).
    pub async fn image_import(
        &self,
        source: &str,
        archive: Option<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static>,
        target: Option<(&str, &str)>,
        message: Option<&str>,
        changes: &[String],
        platform: Option<&str>,
    ) -> Result<JsonStream<JsonMessage>> {
        let mut call = self.post("/images/create").query("fromSrc", source);
        if let Some((repository, tag)) = target {
            call = call.query("repo", repository).query("tag", tag);
        }
        call = call
            .query_some("message", message)
            .query_some("platform", platform);
        for change in changes {
            call = call.query("changes", change);
        }
        if let Some(archive) = archive {
            call = call.stream_body(archive, "application/x-tar");
        }
        call.messages().await
    }

    /// An archive of images, as it comes. Each platform is JSON.
    pub async fn image_save(&self, names: &[String], platforms: &[String]) -> Result<BodyReader> {
        let mut call = self.get("/images/get");
        for name in names {
            call = call.query("names", name);
        }
        for platform in platforms {
            call = call.query("platform", platform);
        }
        Ok(BodyReader::new(call.send().await?.into_body()))
    }

    /// Loads the images of an archive.
    pub async fn image_load(
        &self,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        quiet: bool,
        platforms: &[String],
    ) -> Result<JsonStream<JsonMessage>> {
        let quiet = if quiet { "1" } else { "0" };
        let mut call = self.post("/images/load").query("quiet", quiet);
        for platform in platforms {
            call = call.query("platform", platform);
        }
        call.stream_body(archive, "application/x-tar")
            .messages()
            .await
    }

    pub async fn image_list(&self, all: bool, filters: &Filters) -> Result<Vec<ImageSummary>> {
        self.get("/images/json")
            .flag("all", all)
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }

    /// As [`Client::image_list`], with the entries of each image's index.
    pub async fn image_list_with_manifests(
        &self,
        all: bool,
        filters: &Filters,
    ) -> Result<Vec<ImageSummary>> {
        self.get("/images/json")
            .flag("all", all)
            .flag("manifests", true)
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }

    pub async fn image_inspect(&self, name: &str) -> Result<ImageInspect> {
        self.get(path(name, "/json")).read().await
    }

    /// What inspect says, as whatever the caller reads it.
    pub async fn image_inspect_raw<T: DeserializeOwned>(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<T> {
        self.get(path(name, "/json"))
            .query_some("platform", platform)
            .read()
            .await
    }

    pub async fn image_tag(&self, source: &str, repository: &str, tag: &str) -> Result<()> {
        self.post(path(source, "/tag"))
            .query("repo", repository)
            .query("tag", tag)
            .done()
            .await?;
        Ok(())
    }

    pub async fn image_remove(
        &self,
        name: &str,
        force: bool,
        no_prune: bool,
        platforms: &[String],
    ) -> Result<Vec<DeleteResponse>> {
        let mut call = self
            .delete(path(name, ""))
            .flag("force", force)
            .flag("noprune", no_prune);
        for platform in platforms {
            call = call.query("platforms", platform);
        }
        call.read().await
    }

    pub async fn image_history(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Vec<HistoryItem>> {
        self.get(path(name, "/history"))
            .query_some("platform", platform)
            .read()
            .await
    }

    pub async fn image_prune(&self, filters: &Filters) -> Result<ImagePruneReport> {
        self.post("/images/prune")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }
}
