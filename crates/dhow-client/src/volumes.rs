//! Calls on volumes.

use dhow_api::{Filters, Volume, VolumeCreateRequest, VolumeList, VolumePruneReport};

use serde::de::DeserializeOwned;

use crate::Result;
use crate::call::segment;
use crate::client::Client;
use crate::containers::filters_text;

impl Client {
    pub async fn volume_list(&self, filters: &Filters) -> Result<VolumeList> {
        self.get("/volumes")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }

    pub async fn volume_create(&self, request: &VolumeCreateRequest) -> Result<Volume> {
        self.post("/volumes/create").json(request).read().await
    }

    /// What inspect says, as whatever the caller reads it.
    pub async fn volume_inspect_raw<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.get(format!("/volumes/{}", segment(name))).read().await
    }

    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        self.delete(format!("/volumes/{}", segment(name)))
            .flag("force", force)
            .done()
            .await?;
        Ok(())
    }

    pub async fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneReport> {
        self.post("/volumes/prune")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }
}
