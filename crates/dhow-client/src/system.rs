//! Calls on the daemon itself.

use dhow_api::{AuthConfig, AuthResponse, DiskUsage, Event, Filters, SystemInfo, Version};

use crate::Result;
use crate::client::Client;
use crate::containers::filters_text;
use crate::json_stream::JsonStream;

impl Client {
    /// Asks whether the daemon is there.
    pub async fn ping(&self) -> Result<()> {
        self.get("/_ping").done().await?;
        Ok(())
    }

    pub async fn daemon_version(&self) -> Result<Version> {
        self.get("/version").read().await
    }

    pub async fn info(&self) -> Result<SystemInfo> {
        self.get("/info").read().await
    }

    /// Events as they happen; with `until`, up to then.
    pub async fn events(
        &self,
        since: Option<&str>,
        until: Option<&str>,
        filters: &Filters,
    ) -> Result<JsonStream<Event>> {
        self.get("/events")
            .query_some("since", since)
            .query_some("until", until)
            .query_some("filters", filters_text(filters))
            .messages()
            .await
    }

    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        self.get("/system/df").read().await
    }

    /// Has the daemon try credentials at their registry.
    pub async fn check_auth(&self, auth: &AuthConfig) -> Result<AuthResponse> {
        self.post("/auth").json(auth).read().await
    }
}
