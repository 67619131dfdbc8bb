//! Volumes of the local driver: directories under the data-root, `<name>/_data`, with a record each.
//!
//! A container holds its volumes from before they are made until it is gone; one that is held is not removed. One
//! that is a filesystem of its own is mounted there while a container that runs has it.

mod copy_up;
mod make;
mod mounted;
mod options;
mod records;
mod remove;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dhow_api::{Filters, Volume, VolumeCreateRequest, VolumeList, VolumeUsage};
use dhow_runtime::filesystem;
use dhow_store::{Durability, Store};

use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::events::EventBus;
use crate::host;
use crate::id::{ContainerId, random_hex};
use crate::storage::Trash;

pub use make::{Filling, Wanted};
pub use mounted::Held;
pub use records::StoredVolume;
pub use remove::excluded;
use turns::Turns;

/// What Docker knows an anonymous volume by.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// NAME_MAX of limits.h, in bytes.
const LONGEST_NAME: usize = 255;

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`: a name is also a directory's.
pub fn check_name(name: &str) -> Result<()> {
    if crate::names::is_valid(name) {
        return match name.len() {
            0..=LONGEST_NAME => Ok(()),
            length => Err(EngineError::invalid(format!(
                "create {}…: the volume name is too long: {length} bytes, at most {LONGEST_NAME} are allowed",
                &name[..60]
            ))),
        };
    }
    if name.len() == 1 {
        return Err(EngineError::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    Err(EngineError::invalid(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// All volumes. A handle; clones are the same.
#[derive(Clone)]
pub struct Volumes {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    store: Store,
    events: EventBus,
    trash: Arc<Trash>,
    table: Mutex<Table>,
    /// Makings and removals of one name, one at a time.
    turns: Turns,
    /// Held by who removes what nobody uses.
    pruning: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    records: BTreeMap<String, StoredVolume>,
    /// The containers that have each, running or not.
    users: BTreeMap<String, BTreeSet<ContainerId>>,
    /// Who needs the filesystem of each, see [`mounted`].
    mounted_for: BTreeMap<String, BTreeSet<String>>,
}

const FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];

impl Volumes {
    pub async fn open(
        dir: PathBuf,
        store: Store,
        events: EventBus,
        trash: Arc<Trash>,
    ) -> Result<Volumes> {
        let records = records::all(&store).await?;
        discard_strays(&dir, &records, &store, &trash).await?;
        let table = Table {
            records: records.into_iter().map(|r| (r.name.clone(), r)).collect(),
            ..Table::default()
        };
        Ok(Volumes {
            inner: Arc::new(Inner {
                dir,
                store,
                events,
                trash,
                table: Mutex::new(table),
                turns: Turns::default(),
                pruning: Default::default(),
            }),
        })
    }

    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.inner.dir.join(name).join("_data")
    }

    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn record(&self, name: &str) -> Option<StoredVolume> {
        self.table().records.get(name).cloned()
    }

    /// Keeps the volumes from being removed, whether they are there yet or not, until the container lets go.
    pub fn hold<'a>(&self, user: &ContainerId, names: impl Iterator<Item = &'a str>) {
        let mut table = self.table();
        for name in names {
            let users = table.users.entry(name.to_owned()).or_default();
            users.insert(user.clone());
        }
    }

    /// The container has none of them any more.
    pub fn release<'a>(&self, user: &ContainerId, names: impl Iterator<Item = &'a str>) {
        let mut table = self.table();
        for name in names {
            if let Some(users) = table.users.get_mut(name) {
                users.remove(user);
                if users.is_empty() {
                    table.users.remove(name);
                }
            }
        }
    }

    fn users(&self, name: &str) -> Vec<ContainerId> {
        let table = self.table();
        let users = table.users.get(name).into_iter().flatten();
        users.cloned().collect()
    }

    pub async fn create(&self, request: VolumeCreateRequest) -> Result<Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::NoSuchVolumeDriver(request.driver));
        }
        let anonymous = request.name.is_empty();
        let name = if anonymous {
            random_hex()?
        } else {
            request.name
        };
        check_name(&name)?;
        let wanted = Wanted {
            record: new_record(&name, request.labels, request.driver_opts, anonymous),
            filling: None,
            durability: Durability::Synced,
        };
        let record = self.ensure(wanted).await?;
        Ok(self.show(&record))
    }

    /// Publishes an event about a volume.
    pub fn tell(&self, action: &str, name: &str, attributes: &[(&str, &str)]) {
        let actor = dhow_api::Actor {
            id: name.to_owned(),
            attributes: attributes
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        };
        self.inner.events.publish("volume", action, actor);
    }

    fn show(&self, record: &StoredVolume) -> Volume {
        Volume {
            created_at: second(record.created),
            driver: "local".into(),
            labels: Some(record.labels.clone()).filter(|l| !l.is_empty()),
            mountpoint: self.data_dir(&record.name).display().to_string(),
            name: record.name.clone(),
            options: Some(record.options.clone()).filter(|o| !o.is_empty()),
            scope: "local".into(),
            usage_data: None,
        }
    }

    pub fn get(&self, name: &str) -> Result<Volume> {
        self.record(name)
            .map(|r| self.show(&r))
            .ok_or_else(|| missing(name))
    }

    pub fn list(&self, filters: &Filters) -> Result<VolumeList> {
        filters.validate(&FILTERS)?;
        let dangling = filters.boolean("dangling")?;
        let table = self.table();
        let volumes = table
            .records
            .values()
            .filter(|r| filters.regex_match("name", &r.name))
            .filter(|_| filters.exact_match("driver", "local"))
            .filter(|r| filters.labels_match("label", &r.labels))
            .filter(|r| dangling.is_none_or(|d| d != table.users.contains_key(&r.name)))
            .map(|r| self.show(r))
            .collect();
        Ok(VolumeList {
            volumes,
            warnings: None,
        })
    }
}

impl Volumes {
    /// All but those with options, which are not on this disk, each with its bytes on it and the number of
    /// containers that have it.
    pub async fn measured(&self) -> Result<Vec<Volume>> {
        let mut volumes = self.list(&Filters::default())?.volumes;
        volumes.retain(|volume| volume.options.is_none());
        for volume in &mut volumes {
            let dir = self.data_dir(&volume.name);
            let size = blocking(move || host::size::of_tree(&dir)).await?;
            volume.usage_data = Some(VolumeUsage {
                ref_count: i64::try_from(self.users(&volume.name).len()).unwrap_or(i64::MAX),
                size: i64::try_from(size).unwrap_or(i64::MAX),
            });
        }
        Ok(volumes)
    }
}

/// Unmounts what was the volume's own; what is mounted elsewhere in it is not. Blocks.
fn discard_stray(dir: &Path, trash: &Trash) -> std::io::Result<()> {
    filesystem::unmount(&dir.join("_data"))?;
    match filesystem::mounts_beneath(dir)?.first() {
        None => trash.discard(dir),
        Some(at) => Err(std::io::Error::other(format!(
            "something else is mounted at {}: unmount it first",
            at.display()
        ))),
    }
}

/// Directories that no record knows: makings and removals that were cut off.
async fn discard_strays(
    dir: &Path,
    records: &[StoredVolume],
    store: &Store,
    trash: &Trash,
) -> Result<()> {
    let known: BTreeSet<&str> = records.iter().map(|r| r.name.as_str()).collect();
    let failed = || EngineError::io(dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Such as a file system's own `lost+found`.
        let is_ours = crate::names::is_valid(&name) && !known.contains(name.as_str());
        if is_ours
            && !records::is_aside(store, &name).await?
            && let Err(e) = discard_stray(&entry.path(), trash)
        {
            tracing::warn!(volume = name, error = %e, "what is left of it can't be cleared away");
        }
    }
    Ok(())
}

/// What is noted of a volume that is to be made. An anonymous one is known by Docker's label.
pub fn new_record(
    name: &str,
    mut labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    anonymous: bool,
) -> StoredVolume {
    if anonymous {
        labels.insert(ANONYMOUS.into(), String::new());
    }
    StoredVolume {
        name: name.to_owned(),
        created: dhow_api::time::now(),
        labels,
        options,
        anonymous,
    }
}

fn missing(name: &str) -> EngineError {
    EngineError::NoSuchVolume(name.to_owned())
}

/// Docker shows a volume's time in whole seconds.
fn second(nanos: i64) -> String {
    dhow_api::time::rfc3339_nano(nanos / 1_000_000_000 * 1_000_000_000)
}
