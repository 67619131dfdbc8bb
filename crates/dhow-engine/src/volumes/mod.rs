//! Volumes of the local driver: directories under the data-root, `<name>/_data`, with a record each.

pub mod copy_up;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dhow_api::{Filters, Volume, VolumeCreateRequest, VolumeList, VolumePruneReport};
use dhow_store::Store;

use crate::containers::records::{self, StoredVolume};
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::id::random_hex;

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`: a name is also a directory's.
pub fn check_name(name: &str) -> Result<()> {
    if crate::names::is_valid(name) {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

pub struct Volumes {
    dir: PathBuf,
    records: Mutex<BTreeMap<String, StoredVolume>>,
    /// Makings and removals, one at a time: a volume that is being removed is not handed out.
    changes: tokio::sync::Mutex<()>,
}

impl Volumes {
    pub fn new(dir: PathBuf, records: Vec<StoredVolume>) -> Volumes {
        Volumes {
            dir,
            records: Mutex::new(records.into_iter().map(|r| (r.name.clone(), r)).collect()),
            changes: tokio::sync::Mutex::new(()),
        }
    }

    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name).join("_data")
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn records(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StoredVolume>> {
        self.records.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn get(&self, name: &str) -> Option<StoredVolume> {
        self.records().get(name).cloned()
    }

    fn all(&self) -> Vec<StoredVolume> {
        self.records().values().cloned().collect()
    }

    /// The volume, made if it is not there, and whether it was made.
    pub async fn ensure(
        &self,
        store: &Store,
        wanted: StoredVolume,
    ) -> Result<(StoredVolume, bool)> {
        let _changes = self.changes.lock().await;
        if let Some(there) = self.get(&wanted.name) {
            return Ok((there, false));
        }
        let path = self.data_dir(&wanted.name);
        make_dir(&path).map_err(EngineError::io(path.display()))?;
        records::put_volume(store, &wanted).await?;
        self.records().insert(wanted.name.clone(), wanted.clone());
        Ok((wanted, true))
    }
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path)?;
    if let Some(parent) = path.parent() {
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o701))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

const FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];

impl Engine {
    pub async fn volume_create(&self, request: VolumeCreateRequest) -> Result<Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::NotFound(format!(
                "error looking up volume plugin {0}: plugin \"{0}\" not found",
                request.driver
            )));
        }
        if let Some(option) = request.driver_opts.keys().next() {
            return Err(EngineError::invalid(format!(
                "invalid option: \"{option}\": volumes of the local driver have no options here"
            )));
        }
        let anonymous = request.name.is_empty();
        let name = if anonymous {
            random_hex()?
        } else {
            request.name
        };
        check_name(&name)?;
        let mut labels = request.labels;
        if anonymous {
            labels.insert("com.docker.volume.anonymous".into(), String::new());
        }
        let record = self.ensure_volume(&name, labels, anonymous).await?;
        Ok(self.show_volume(&record))
    }

    pub(crate) async fn ensure_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        anonymous: bool,
    ) -> Result<StoredVolume> {
        let wanted = StoredVolume {
            name: name.to_owned(),
            created: dhow_api::time::now(),
            labels,
            options: BTreeMap::new(),
            anonymous,
        };
        let (record, made) = self.inner.volumes.ensure(&self.inner.store, wanted).await?;
        if made {
            self.volume_event("create", name, &[("driver", "local")]);
        }
        Ok(record)
    }

    pub(crate) fn volume_event(&self, action: &str, name: &str, attributes: &[(&str, &str)]) {
        let actor = dhow_api::Actor {
            id: name.to_owned(),
            attributes: attributes
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        };
        self.events().publish("volume", action, actor);
    }

    fn show_volume(&self, record: &StoredVolume) -> Volume {
        Volume {
            created_at: second(record.created),
            driver: "local".into(),
            labels: Some(record.labels.clone()).filter(|l| !l.is_empty()),
            mountpoint: self
                .inner
                .volumes
                .data_dir(&record.name)
                .display()
                .to_string(),
            name: record.name.clone(),
            options: Some(record.options.clone()).filter(|o| !o.is_empty()),
            scope: "local".into(),
            usage_data: None,
        }
    }

    pub fn volume(&self, name: &str) -> Result<Volume> {
        let record = self.inner.volumes.get(name);
        record
            .map(|r| self.show_volume(&r))
            .ok_or_else(|| EngineError::NotFound(format!("get {name}: no such volume")))
    }

    pub fn volumes(&self, filters: &Filters) -> Result<VolumeList> {
        filters.validate(&FILTERS)?;
        let dangling = filters.boolean("dangling")?;
        let volumes = self
            .inner
            .volumes
            .all()
            .iter()
            .filter(|r| filters.regex_match("name", &r.name))
            .filter(|_| filters.exact_match("driver", "local"))
            .filter(|r| filters.labels_match("label", &r.labels))
            .filter(|r| dangling.is_none_or(|d| d == self.volume_users(&r.name).is_empty()))
            .map(|r| self.show_volume(r))
            .collect();
        Ok(VolumeList {
            volumes,
            warnings: None,
        })
    }

    /// The containers that have the volume, running or not.
    fn volume_users(&self, name: &str) -> Vec<String> {
        self.inner
            .containers
            .all()
            .iter()
            .filter(|c| c.definition().volumes().any(|(v, _)| v == name))
            .map(|c| c.id.to_string())
            .collect()
    }

    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let _changes = self.inner.volumes.changes.lock().await;
        if self.inner.volumes.get(name).is_none() {
            if force {
                return Ok(());
            }
            return Err(EngineError::NotFound(format!("get {name}: no such volume")));
        }
        let users = self.volume_users(name);
        if !users.is_empty() {
            return Err(EngineError::Conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        self.delete_volume(name).await
    }

    /// The caller holds the changes' lock, and has seen that nobody uses the volume.
    async fn delete_volume(&self, name: &str) -> Result<()> {
        records::delete_volume(&self.inner.store, name).await?;
        self.inner.volumes.records().remove(name);
        self.inner
            .trash
            .discard(&self.inner.volumes.dir.join(name))
            .map_err(EngineError::io(format!("removing volume {name}")))?;
        self.volume_event("destroy", name, &[("driver", "local")]);
        Ok(())
    }

    pub async fn volume_prune(&self, filters: &Filters) -> Result<VolumePruneReport> {
        filters.validate(&["label", "label!", "all"])?;
        let all = filters.boolean("all")?.unwrap_or(false);
        let _changes = self.inner.volumes.changes.lock().await;
        let mut report = VolumePruneReport::default();
        for record in self.inner.volumes.all() {
            let wanted = (all || record.anonymous)
                && filters.labels_match("label", &record.labels)
                && !excluded(filters, &record.labels)
                && self.volume_users(&record.name).is_empty();
            if !wanted {
                continue;
            }
            let dir = self.inner.volumes.data_dir(&record.name);
            let size = tokio::task::spawn_blocking(move || crate::host::size::of_tree(&dir))
                .await
                .map_err(|e| EngineError::System(e.to_string()))?;
            self.delete_volume(&record.name).await?;
            report.space_reclaimed += size;
            report.volumes_deleted.push(record.name);
        }
        Ok(report)
    }

    /// Removes the anonymous volumes of a container that is gone, if no other has them.
    pub(crate) async fn remove_anonymous_volumes(&self, names: Vec<String>) {
        for name in names {
            let _changes = self.inner.volumes.changes.lock().await;
            if self.inner.volumes.get(&name).is_some()
                && self.volume_users(&name).is_empty()
                && let Err(e) = self.delete_volume(&name).await
            {
                tracing::warn!(volume = name, error = %e, "an anonymous volume could not be removed");
            }
        }
    }
}

/// Whether the labels have one of those that `label!` excludes.
pub(crate) fn excluded(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    filters
        .get("label!")
        .any(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
            None => labels.contains_key(wanted),
        })
}

/// Docker shows a volume's time in whole seconds.
fn second(nanos: i64) -> String {
    dhow_api::time::rfc3339_nano(nanos / 1_000_000_000 * 1_000_000_000)
}
