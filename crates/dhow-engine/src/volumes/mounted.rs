//! Volumes with a filesystem of their own: mounted at their place when the first container needs it, and
//! unmounted when the last one has ended.
//!
//! Who needs it is known in memory alone: a daemon that comes after another finds it out from the containers
//! that run, and then unmounts what none of them needs. Whether something is mounted is asked of the kernel each
//! time, so that nothing is mounted twice, and nothing is deleted that is somebody else's.

use std::path::Path;
use std::time::Duration;

use dhow_runtime::filesystem::{self, Filesystem};
use tokio::runtime::Handle;

use super::{Volumes, options};
use crate::background::blocking;
use crate::error::{EngineError, Result};

/// How long a new daemon waits for what an earlier one left mounted; a server may not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What keeps volumes mounted, until it is dropped.
pub struct Held {
    volumes: Volumes,
    user: String,
    names: Vec<String>,
    runtime: Handle,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (volumes, user) = (self.volumes.clone(), std::mem::take(&mut self.user));
        let names = std::mem::take(&mut self.names);
        // Nobody waits for it; what the engine's end cuts off, the next one does.
        self.runtime.spawn(async move {
            for name in names {
                volumes.unmount(&name, &user).await;
            }
        });
    }
}

impl Volumes {
    /// Has the volume's filesystem there for `user`, who may ask twice. Volumes without one are always there.
    pub async fn mount(&self, name: &str, user: &str) -> Result<()> {
        if self.filesystem(name).is_none() {
            return Ok(());
        }
        let _turn = self.inner.turns.take(name).await;
        self.mount_in_turn(name, user).await
    }

    /// The user needs it no more; the last one's leaving unmounts it.
    pub async fn unmount(&self, name: &str, user: &str) {
        if !self.is_mounted_for(name, user) {
            return;
        }
        let _turn = self.inner.turns.take(name).await;
        self.unmount_in_turn(name, user).await;
    }

    /// Has all of them mounted until what is returned is dropped.
    pub async fn hold_mounted(&self, user: String, names: &[&str]) -> Result<Option<Held>> {
        let mut held = Held {
            volumes: self.clone(),
            user,
            names: Vec::new(),
            runtime: Handle::current(),
        };
        for name in names {
            if self.filesystem(name).is_some() {
                self.mount(name, &held.user).await?;
                held.names.push((*name).to_owned());
            }
        }
        Ok((!held.names.is_empty()).then_some(held))
    }

    /// What is to be mounted at the volume's place.
    pub fn filesystem(&self, name: &str) -> Option<Filesystem> {
        let table = self.table();
        options::filesystem(&table.records.get(name)?.options)
    }

    pub fn is_mounted_for(&self, name: &str, user: &str) -> bool {
        let table = self.table();
        let users = table.mounted_for.get(name);
        users.is_some_and(|users| users.contains(user))
    }

    /// The caller has the turn.
    pub(super) async fn mount_in_turn(&self, name: &str, user: &str) -> Result<()> {
        let Some(wanted) = self.filesystem(name) else {
            return Ok(());
        };
        let at = self.data_dir(name);
        let place = at.display().to_string();
        blocking(move || mount_once(wanted, &at))
            .await?
            .map_err(|why| {
                EngineError::invalid(format!("error while mounting volume '{place}': {why}"))
            })?;
        let mut table = self.table();
        let users = table.mounted_for.entry(name.to_owned()).or_default();
        users.insert(user.to_owned());
        Ok(())
    }

    /// The caller has the turn.
    pub(super) async fn unmount_in_turn(&self, name: &str, user: &str) {
        {
            let mut table = self.table();
            if let Some(users) = table.mounted_for.get_mut(name) {
                users.remove(user);
                if !users.is_empty() {
                    return;
                }
                table.mounted_for.remove(name);
            }
        }
        self.unmount_unused(name).await;
    }

    async fn unmount_unused(&self, name: &str) {
        let at = self.data_dir(name);
        if let Ok(Err(e)) = blocking(move || filesystem::unmount(&at)).await {
            tracing::error!(volume = name, error = %e, "no container uses it any more, and it can't be unmounted");
        }
    }

    /// Unmounts what nobody needs: an earlier daemon may have ended before it could.
    pub async fn unmount_leftovers(&self) {
        let names: Vec<String> = {
            let table = self.table();
            let mounted = |name: &&String| table.mounted_for.contains_key(*name);
            let records = table.records.iter();
            records
                .filter(|(_, record)| options::filesystem(&record.options).is_some())
                .map(|(name, _)| name)
                .filter(|name| !mounted(name))
                .cloned()
                .collect()
        };
        let all = names.iter().map(|name| async move {
            let _turn = self.inner.turns.take(name).await;
            if !self.table().mounted_for.contains_key(name) {
                self.unmount_unused(name).await;
            }
        });
        if tokio::time::timeout(PATIENCE, futures_util::future::join_all(all))
            .await
            .is_err()
        {
            tracing::warn!("a volume's filesystem that nobody uses takes long to be unmounted");
        }
    }
}

fn mount_once(wanted: Filesystem, at: &Path) -> std::result::Result<(), String> {
    if filesystem::is_mounted(at).map_err(|e| e.to_string())? {
        return Ok(());
    }
    options::resolve(wanted)
        .map_err(|e| e.to_string())?
        .mount(at)
        .map_err(|e| format!("failed to mount local volume: {e}"))
}
