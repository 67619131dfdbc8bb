//! Calls on networks.

use dhow_api::{
    EndpointSettings, Filters, Network, NetworkConnectRequest, NetworkCreateRequest,
    NetworkCreateResponse, NetworkDisconnectRequest, NetworksPruneReport,
};
use serde::de::DeserializeOwned;

use crate::Result;
use crate::call::segment;
use crate::client::Client;
use crate::containers::filters_text;

impl Client {
    pub async fn network_list(&self, filters: &Filters) -> Result<Vec<Network>> {
        self.get("/networks")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }

    pub async fn network_create(
        &self,
        request: &NetworkCreateRequest,
    ) -> Result<NetworkCreateResponse> {
        self.post("/networks/create").json(request).read().await
    }

    /// What inspect says, as whatever the caller reads it.
    pub async fn network_inspect_raw<T: DeserializeOwned>(
        &self,
        name: &str,
        verbose: bool,
    ) -> Result<T> {
        self.get(format!("/networks/{}", segment(name)))
            .flag("verbose", verbose)
            .read()
            .await
    }

    pub async fn network_connect(
        &self,
        name: &str,
        container: &str,
        endpoint: EndpointSettings,
    ) -> Result<()> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        self.post(format!("/networks/{}/connect", segment(name)))
            .json(&request)
            .done()
            .await?;
        Ok(())
    }

    pub async fn network_disconnect(&self, name: &str, container: &str, force: bool) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force,
        };
        self.post(format!("/networks/{}/disconnect", segment(name)))
            .json(&request)
            .done()
            .await?;
        Ok(())
    }

    pub async fn network_remove(&self, name: &str) -> Result<()> {
        self.delete(format!("/networks/{}", segment(name)))
            .done()
            .await?;
        Ok(())
    }

    pub async fn network_prune(&self, filters: &Filters) -> Result<NetworksPruneReport> {
        self.post("/networks/prune")
            .query_some("filters", filters_text(filters))
            .read()
            .await
    }
}
