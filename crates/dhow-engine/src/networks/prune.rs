//! Removing all networks that nobody is on.

use std::sync::Arc;

use dhow_api::{Filters, NetworksPruneReport};

use super::Networks;
use super::made::Made;
use crate::error::{EngineError, Result};
use crate::until;
use crate::volumes::excluded;

impl Networks {
    pub async fn prune(&self, filters: &Filters) -> Result<NetworksPruneReport> {
        filters.validate(&["label", "label!", "until"])?;
        if filters.get("until").count() > 1 {
            return Err(EngineError::invalid("more than one until filter specified"));
        }
        let until = match filters.get("until").next() {
            None => None,
            Some(text) => Some(until::parse(text)?),
        };
        let Ok(_one) = self.inner.pruning.try_lock() else {
            return Err(EngineError::Refused(
                "a prune operation is already running".to_owned(),
            ));
        };
        let _turn = self.inner.making.lock().await;
        let all: Vec<Arc<Made>> = self.made().values().cloned().collect();
        let mut deleted = Vec::new();
        for made in all {
            let record = &made.record;
            if record.config_only
                || until.is_some_and(|until| record.created >= until)
                || !filters.labels_match("label", &record.labels)
                || excluded(filters, &record.labels)
            {
                continue;
            }
            match self.remove_made(&made).await {
                Ok(()) => deleted.push(record.name.clone()),
                // One that is in use is left alone.
                Err(EngineError::NotPermitted(_)) => {}
                Err(e) => {
                    tracing::warn!(network = record.name, error = %e, "it was not pruned");
                }
            }
        }
        let actor = dhow_api::Actor {
            id: String::new(),
            attributes: [("reclaimed".to_owned(), "0".to_owned())].into(),
        };
        self.inner.events.publish("network", "prune", actor);
        Ok(NetworksPruneReport {
            networks_deleted: Some(deleted).filter(|d| !d.is_empty()),
        })
    }
}
