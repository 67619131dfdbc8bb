//! Calls on further processes in containers.

use dhow_api::{ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecStartRequest};

use crate::Result;
use crate::call::segment;
use crate::client::Client;
use crate::hijack::Hijacked;

impl Client {
    pub async fn exec_create(
        &self,
        container: &str,
        request: &ExecCreateRequest,
    ) -> Result<String> {
        let created: ExecCreateResponse = self
            .post(format!("/containers/{}/exec", segment(container)))
            .json(request)
            .read()
            .await?;
        Ok(created.id)
    }

    /// Starts it with its streams on this connection.
    pub async fn exec_attach(&self, id: &str, request: &ExecStartRequest) -> Result<Hijacked> {
        self.post(format!("/exec/{}/start", segment(id)))
            .json(request)
            .hijack()
            .await
    }

    /// Starts it without its streams.
    pub async fn exec_start(&self, id: &str, request: &ExecStartRequest) -> Result<()> {
        self.post(format!("/exec/{}/start", segment(id)))
            .json(request)
            .done()
            .await?;
        Ok(())
    }

    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        self.post(format!("/exec/{}/resize", segment(id)))
            .query("h", rows.to_string())
            .query("w", columns.to_string())
            .done()
            .await?;
        Ok(())
    }

    pub async fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        self.get(format!("/exec/{}/json", segment(id))).read().await
    }
}
