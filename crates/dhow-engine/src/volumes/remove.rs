//! Removing volumes, one by one or all that nobody uses.

use std::collections::BTreeMap;

use dhow_api::{Filters, VolumePruneReport};
use dhow_runtime::filesystem;

use super::{ANONYMOUS, Volumes, missing, records};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::host;

impl Volumes {
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let _turn = self.inner.turns.take(name).await;
        if self.record(name).is_none() {
            if force {
                return Ok(());
            }
            return Err(missing(name));
        }
        let users = self.users(name);
        if !users.is_empty() {
            return Err(EngineError::VolumeInUse {
                name: name.to_owned(),
                users,
            });
        }
        self.delete(name).await
    }

    /// The caller has the turn, and has seen that nobody uses the volume.
    async fn delete(&self, name: &str) -> Result<()> {
        let own = self.filesystem(name).is_some();
        let data = self.data_dir(name);
        let dir = self.inner.dir.join(name);
        // What is mounted there, or deeper inside, is not to be deleted with the place.
        let mounts = blocking(move || {
            if own {
                filesystem::unmount(&data)?;
            }
            filesystem::mounts_beneath(&dir)
        })
        .await?
        .map_err(EngineError::io(format!("unmounting volume {name}")))?;
        if let Some(at) = mounts.first() {
            return Err(EngineError::Refused(format!(
                "remove {name}: something else is mounted at {}: unmount it first",
                at.display()
            )));
        }
        records::delete(&self.inner.store, name).await?;
        self.table().records.remove(name);
        self.inner
            .trash
            .discard(&self.inner.dir.join(name))
            .map_err(EngineError::io(format!("removing volume {name}")))?;
        self.tell("destroy", name, &[("driver", "local")]);
        Ok(())
    }

    pub async fn prune(&self, filters: &Filters) -> Result<VolumePruneReport> {
        filters.validate(&["label", "label!", "all"])?;
        if filters.get("all").count() > 1 {
            let given: Vec<&str> = filters.get("all").collect();
            return Err(EngineError::invalid(format!(
                "invalid filter 'all=[{}]': only one value is expected",
                given.join(" ")
            )));
        }
        let all = filters.boolean("all")?.unwrap_or(false);
        let Ok(_one) = self.inner.pruning.try_lock() else {
            return Err(EngineError::Refused(
                "a prune operation is already running".to_owned(),
            ));
        };
        let wanted: Vec<String> = self
            .table()
            .records
            .values()
            .filter(|r| {
                (all || r.labels.contains_key(ANONYMOUS))
                    // With options, it makes no room here.
                    && r.options.is_empty()
                    && filters.labels_match("label", &r.labels)
                    && !excluded(filters, &r.labels)
            })
            .map(|r| r.name.clone())
            .collect();
        let mut report = VolumePruneReport::default();
        for name in wanted {
            if !self.users(&name).is_empty() {
                continue;
            }
            // Before the turn: how long it takes is nobody's trouble.
            let dir = self.data_dir(&name);
            let size = blocking(move || host::size::of_tree(&dir)).await?;
            if self.remove_unused(&name).await? {
                report.space_reclaimed += size;
                report.volumes_deleted.push(name);
            }
        }
        let reclaimed = report.space_reclaimed.to_string();
        self.tell("prune", "", &[("reclaimed", &reclaimed)]);
        Ok(report)
    }

    /// Removes the anonymous volumes of a container that is gone, if no other has them.
    pub async fn remove_anonymous(&self, names: Vec<String>) {
        for name in names {
            if let Err(e) = self.remove_unused(&name).await {
                tracing::warn!(volume = name, error = %e, "an anonymous volume could not be removed");
            }
        }
    }

    /// Whether it was there, and nobody's.
    async fn remove_unused(&self, name: &str) -> Result<bool> {
        let _turn = self.inner.turns.take(name).await;
        if self.record(name).is_none() || !self.users(name).is_empty() {
            return Ok(false);
        }
        self.delete(name).await?;
        Ok(true)
    }
}

/// Whether the labels have one of those that `label!` excludes.
pub fn excluded(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    filters
        .get("label!")
        .any(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
            None => labels.contains_key(wanted),
        })
}
