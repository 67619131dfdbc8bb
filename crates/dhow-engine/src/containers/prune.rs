//! Removing all containers that do not run.

use dhow_api::{ContainerPruneReport, Filters};

use super::Containers;
use super::remove::RemoveOptions;
use super::state::State;
use crate::background::blocking;
use crate::error::Result;
use crate::host;
use crate::until;
use crate::volumes::excluded;

impl Containers {
    pub async fn prune(&self, filters: &Filters) -> Result<ContainerPruneReport> {
        filters.validate(&["label", "label!", "until"])?;
        let until = match filters.get("until").next() {
            None => None,
            Some(text) => Some(until::parse(text)?),
        };
        let mut report = ContainerPruneReport::default();
        for container in self.inner.table.all() {
            if !matches!(
                container.state(),
                State::Created(_) | State::Exited(_) | State::Dead(_)
            ) {
                continue;
            }
            let definition = container.definition();
            let labels = &definition.config.labels;
            if until.is_some_and(|u| container.created >= u)
                || !filters.labels_match("label", labels)
                || excluded(filters, labels)
            {
                continue;
            }
            let upper = container.upper_dir();
            let size = blocking(move || host::size::of_tree(&upper)).await?;
            let _ops = container.ops.lock().await;
            // One that was started since is left alone.
            match self
                .remove_locked(&container, &RemoveOptions::default())
                .await
            {
                Ok(()) => {
                    report.space_reclaimed += size;
                    report
                        .containers_deleted
                        .get_or_insert_with(Vec::new)
                        .push(container.id.to_string());
                }
                Err(e) => {
                    tracing::warn!(container = %container.id, error = %e, "it was not pruned");
                }
            }
        }
        let actor = dhow_api::Actor {
            id: String::new(),
            attributes: [("reclaimed".to_owned(), report.space_reclaimed.to_string())].into(),
        };
        self.inner.events.publish("container", "prune", actor);
        Ok(report)
    }
}
