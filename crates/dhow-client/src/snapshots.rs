//! Calls on what leaves a container: its changes, its archive, an image made of it.

use dhow_api::{CommitResponse, ContainerChange};

use crate::Result;
use crate::body::BodyReader;
use crate::call::segment;
use crate::client::Client;

/// What a commit makes.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// The repository and the tag to name the image by.
    pub target: Option<(String, String)>,
    pub comment: String,
    pub author: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    pub pause: bool,
}

impl Client {
    pub async fn container_changes(&self, id: &str) -> Result<Vec<ContainerChange>> {
        let path = format!("/containers/{}/changes", segment(id));
        let changes: Option<_> = self.get(path).read().await?;
        Ok(changes.unwrap_or_default())
    }

    /// A container's files as an archive.
    pub async fn container_export(&self, id: &str) -> Result<BodyReader> {
        let path = format!("/containers/{}/export", segment(id));
        let response = self.get(path).send().await?;
        Ok(BodyReader::new(response.into_body()))
    }

    pub async fn container_commit(
        &self,
        id: &str,
        options: &CommitOptions,
    ) -> Result<CommitResponse> {
        let (repository, tag) = options.target.clone().unzip();
        let mut call = self
            .post("/commit")
            .query("container", id)
            .query("repo", repository.unwrap_or_default())
            .query("tag", tag.unwrap_or_default())
            .query("comment", &options.comment)
            .query("author", &options.author);
        for change in &options.changes {
            call = call.query("changes", change);
        }
        if !options.pause {
            call = call.query("pause", "0");
        }
        call.read().await
    }
}
