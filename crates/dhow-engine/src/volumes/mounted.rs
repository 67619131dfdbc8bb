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
    /// Has the filesystems of all of them there for `user`, who may ask twice, and may let go before it is done.
    /// Volumes without one are always there.
    pub async fn mount<'a>(&self, names: impl Iterator<Item = &'a str>, user: &str) -> Result<()> {
        let wanted: Vec<&str> = names
            .filter(|name| self.filesystem(name).is_some())
            .collect();
        // At once, so that whoever lets go of them leaves none to be mounted later.
        let new: Vec<bool> = {
            let mut table = self.table();
            let noted = wanted.iter().map(|name| {
                let users = table.mounted_for.entry((*name).to_owned()).or_default();
                users.insert(user.to_owned())
            });
            noted.collect()
        };
        for (n, name) in wanted.iter().enumerate() {
            let turn = self.inner.turns.take(name).await;
            if !self.is_mounted_for(name, user) {
                continue;
            }
            if let Err(error) = self.mount_in_turn(name, user).await {
                drop(turn);
                for (name, _) in wanted.iter().zip(new).skip(n).filter(|(_, new)| *new) {
                    self.unmount(name, user).await;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The user needs it no more; the last one's leaving unmounts it.
    pub async fn unmount(&self, name: &str, user: &str) {
        if !self.is_mounted_for(name, user) {
            return;
        }
        let _turn = self.inner.turns.take(name).await;
        self.unmount_in_turn(name, user).await;
    }

    /// Has all of them mounted until what is returned is dropped; also if nobody waits for it any more.
    pub async fn hold_mounted(&self, user: String, names: &[&str]) -> Result<Option<Held>> {
        let names: Vec<String> = names
            .iter()
            .filter(|name| self.filesystem(name).is_some())
            .map(|name| (*name).to_owned())
            .collect();
        if names.is_empty() {
            return Ok(None);
        }
        let held = Held {
            volumes: self.clone(),
            user,
            names,
            runtime: Handle::current(),
        };
        // A client may go away while a server has not answered: the turn and the mount are then given back by
        // what goes on.
        let mounted = tokio::spawn(async move {
            let names = held.names.iter().map(String::as_str);
            held.volumes.mount(names, &held.user).await.map(|()| held)
        });
        let held = mounted
            .await
            .map_err(|e| EngineError::Internal(format!("mounting volumes: {e}")))??;
        Ok(Some(held))
    }

    /// What is to be mounted at the volume's place.
    pub fn filesystem(&self, name: &str) -> Option<Filesystem> {
        let table = self.table();
        options::filesystem(&table.records.get(name)?.options)
    }

    /// Whether somebody, by id, is among those that a volume's filesystem is mounted for.
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
