//! Calls on containers.

use dhow_api::{
    ContainerCreateRequest, ContainerCreateResponse, ContainerInspect, ContainerPruneReport,
    ContainerSummary, ContainerUpdateRequest, ContainerUpdateResponse, Filters, Stats, TopResponse,
    WaitResponse,
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::body::BodyReader;
use crate::call::segment;
use crate::client::{Boxed, Client};
use crate::error::Error;
use crate::frames::FrameReader;
use crate::hijack::Hijacked;
use crate::json_stream::JsonStream;

/// What is attached.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The log so far first.
    pub logs: bool,
    pub detach_keys: Option<String>,
}

/// Which lines of a log, and how.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    pub follow: bool,
    pub since: Option<String>,
    pub until: Option<String>,
    pub timestamps: bool,
    /// `all` or a number.
    pub tail: Option<String>,
    pub details: bool,
}

/// What a wait waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    NotRunning,
    NextExit,
    Removed,
}

impl WaitCondition {
    fn as_str(self) -> &'static str {
        match self {
            WaitCondition::NotRunning => "not-running",
            WaitCondition::NextExit => "next-exit",
            WaitCondition::Removed => "removed",
        }
    }
}

/// A wait that the daemon has begun: what happens from now on is not missed.
pub struct WaitHandle {
    body: Incoming,
}

impl WaitHandle {
    pub async fn result(self) -> Result<WaitResponse> {
        let bytes = self.body.collect().await?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|source| Error::Malformed {
            path: "/containers/{id}/wait".into(),
            source,
        })
    }
}

fn path(id: &str, action: &str) -> String {
    format!("/containers/{}{action}", segment(id))
}

pub(crate) fn filters_text(filters: &Filters) -> Option<String> {
    if filters.is_empty() {
        return None;
    }
    // A map of strings always becomes JSON.
    serde_json::to_string(filters).ok()
}

impl Client {
    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        request: &ContainerCreateRequest,
    ) -> Result<ContainerCreateResponse> {
        self.post("/containers/create")
            .query_some("name", name)
            .query_some("platform", platform)
            .json(request)
            .read()
            .await
    }

    pub async fn container_start(&self, id: &str, detach_keys: Option<&str>) -> Result<()> {
        self.post(path(id, "/start"))
            .query_some("detachKeys", detach_keys)
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_attach(&self, id: &str, options: &AttachOptions) -> Result<Hijacked> {
        self.post(path(id, "/attach"))
            .query("stream", "1")
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stderr", options.stderr)
            .flag("logs", options.logs)
            .query_some("detachKeys", options.detach_keys.as_deref())
            .hijack()
            .await
    }

    /// Returns when the daemon has begun to wait.
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Result<WaitHandle> {
        let response = self
            .post(path(id, "/wait"))
            .query("condition", condition.as_str())
            .send()
            .await?;
        Ok(WaitHandle {
            body: response.into_body(),
        })
    }

    pub async fn container_stop(
        &self,
        id: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        self.post(path(id, "/stop"))
            .query_some("signal", signal)
            .query_some("t", timeout.map(|t| t.to_string()))
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_restart(
        &self,
        id: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        self.post(path(id, "/restart"))
            .query_some("signal", signal)
            .query_some("t", timeout.map(|t| t.to_string()))
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_kill(&self, id: &str, signal: Option<&str>) -> Result<()> {
        self.post(path(id, "/kill"))
            .query_some("signal", signal)
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_pause(&self, id: &str) -> Result<()> {
        self.post(path(id, "/pause")).done().await?;
        Ok(())
    }

    pub async fn container_unpause(&self, id: &str) -> Result<()> {
        self.post(path(id, "/unpause")).done().await?;
        Ok(())
    }

    pub async fn container_rename(&self, id: &str, name: &str) -> Result<()> {
        self.post(path(id, "/rename"))
            .query("name", name)
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        self.post(path(id, "/resize"))
            .query("h", rows.to_string())
            .query("w", columns.to_string())
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_remove(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
        link: bool,
    ) -> Result<()> {
        self.delete(path(id, ""))
            .flag("force", force)
            .flag("v", volumes)
            .flag("link", link)
            .done()
            .await?;
        Ok(())
    }

    pub async fn container_update(
        &self,
        id: &str,
        request: &ContainerUpdateRequest,
    ) -> Result<ContainerUpdateResponse> {
        self.post(path(id, "/update")).json(request).read().await
    }

    /// `limit` of zero or less means all of those that are running, or with `all` simply all.
    pub fn container_list(
        &self,
        all: bool,
        limit: i64,
        size: bool,
        filters: &Filters,
    ) -> Boxed<'_, Vec<ContainerSummary>> {
        Box::pin(
            self.get("/containers/json")
                .flag("all", all)
                .query_some("limit", (limit > 0).then(|| limit.to_string()))
                .flag("size", size)
                .query_some("filters", filters_text(filters))
                .read(),
        )
    }

    pub async fn container_inspect(&self, id: &str) -> Result<ContainerInspect> {
        self.get(path(id, "/json")).read().await
    }

    /// What inspect says, as whatever the caller reads it.
    pub async fn container_inspect_raw<T: DeserializeOwned>(
        &self,
        id: &str,
        size: bool,
    ) -> Result<T> {
        self.get(path(id, "/json")).flag("size", size).read().await
    }

    pub async fn container_top(&self, id: &str, arguments: Option<&str>) -> Result<TopResponse> {
        self.get(path(id, "/top"))
            .query_some("ps_args", arguments)
            .read()
            .await
    }

    /// The log as frames, or raw if the container has a terminal.
    pub async fn container_logs(
        &self,
        id: &str,
        options: &LogsOptions,
        tty: bool,
    ) -> Result<FrameReader<BodyReader>> {
        let response = self
            .get(path(id, "/logs"))
            .query("stdout", "1")
            .query("stderr", "1")
            .flag("follow", options.follow)
            .query_some("since", options.since.as_deref())
            .query_some("until", options.until.as_deref())
            .flag("timestamps", options.timestamps)
            .query_some("tail", options.tail.as_deref())
            .flag("details", options.details)
            .send()
            .await?;
        Ok(FrameReader::new(BodyReader::new(response.into_body()), tty))
    }

    /// Takes away what a container has logged; not an operation of Docker's.
    pub async fn container_clear_logs(&self, id: &str) -> Result<()> {
        self.post(path(id, "/clear-logs")).done().await?;
        Ok(())
    }

    pub async fn container_stats(&self, id: &str, stream: bool) -> Result<JsonStream<Stats>> {
        self.get(path(id, "/stats"))
            .query("stream", if stream { "1" } else { "0" })
            .messages()
            .await
    }

    pub async fn container_prune(&self, filters: &Filters) -> Result<ContainerPruneReport> {
        self.post("/containers/prune")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }
}
