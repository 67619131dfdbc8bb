//! Networks on a parent, beside the first network.

use super::Network;
use super::opening::{adopt, beside};
use crate::driver::Driver;
use crate::endpoint::LiveEndpoint;
use crate::error::Result;
use crate::lan::{Lan, LanConfig};

impl Network {
    /// Makes a network on a parent, and the parent if it is the network's own. When it fails, nothing of it is left. A future
    /// that is dropped leaves what was made so far.
    pub async fn add_lan(&self, config: LanConfig) -> Result<Network> {
        let network = self.lan(&config, &[])?;
        self.inner
            .worker
            .with_maker(move |maker| {
                maker.check_kind(config.kind)?;
                maker.ensure_parent(&config.parent).map(|_| ())
            })
            .await?;
        Ok(network)
    }

    /// One that was there before. Where its parent is missing, it is there all the same: its containers can't start before that
    /// is there.
    pub async fn take_over_lan(&self, config: LanConfig, live: &[LiveEndpoint]) -> Result<Network> {
        let network = self.lan(&config, live)?;
        let parent = config.parent.clone();
        let there = self
            .inner
            .worker
            .with_maker(move |maker| maker.ensure_parent(&parent).map(|_| ()))
            .await;
        if let Err(error) = there {
            let (driver, parent) = (config.kind.name(), config.parent.name);
            tracing::warn!(driver, parent, %error, "a network has no parent: its containers can't start");
        }
        Ok(network)
    }

    fn lan(&self, config: &LanConfig, live: &[LiveEndpoint]) -> Result<Network> {
        let lan = Lan::new(config.clone());
        let mut pool = lan.pool()?;
        let endpoints = adopt(&mut pool, live);
        Ok(beside(self, Driver::Lan(lan), pool, endpoints))
    }
}
