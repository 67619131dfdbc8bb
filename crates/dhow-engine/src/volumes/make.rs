//! Making a volume: its directories, and what the image has at its place.
//!
//! A volume is there whole or not at all. What it is to hold is copied beside its place and renamed there, and
//! its record comes last: a crash in between leaves a directory that no record knows, which the next making
//! of that name clears away.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dhow_store::Durability;

use super::records::{self, StoredVolume};
use super::{Volumes, copy_up, discard_stray, options};
use crate::background::blocking;
use crate::error::{EngineError, Result};
use dhow_image::{LayeredRoot, Node};

/// What an empty volume is filled with.
#[derive(Clone, Debug)]
pub struct Filling {
    /// The image's layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// The volume's place in the container.
    pub place: PathBuf,
}

/// A volume that is to be there.
pub struct Wanted {
    pub record: StoredVolume,
    pub filling: Option<Filling>,
    /// What it and its record survive.
    pub durability: Durability,
}

impl Volumes {
    /// Makes the volume if it is not there, and fills it if it is empty. `durability` is of a new one.
    pub async fn ensure(&self, wanted: Wanted) -> Result<StoredVolume> {
        let Wanted {
            record,
            filling,
            durability,
        } = wanted;
        let name = record.name.clone();
        let _turn = self.inner.turns.take(&name).await;
        let (dir, failed) = (self.inner.dir.join(&name), format!("making volume {name}"));
        if let Some(there) = self.record(&name) {
            if let Some(filling) = filling {
                self.fill_in_turn(&there, filling).await?;
            }
            return Ok(there);
        }
        options::check(&name, &record.options)?;
        // What a crash has left of an earlier making is nobody's.
        let stray = dir.clone();
        if blocking(move || stray.exists()).await? {
            if records::is_aside(&self.inner.store, &name).await? {
                return Err(EngineError::SetAside {
                    what: format!("volume {name}"),
                    place: dir,
                });
            }
            let volumes = self.clone();
            let stray = dir.clone();
            blocking(move || discard_stray(&stray, &volumes.inner.trash))
                .await?
                .map_err(EngineError::io(&failed))?;
        }
        let synced = durability == Durability::Synced;
        // What is in a filesystem of its own is not beneath its place.
        let (now, later) = match options::filesystem(&record.options) {
            None => (filling, None),
            Some(_) => (None, filling),
        };
        blocking(move || make(&dir, now.as_ref(), synced))
            .await?
            .map_err(EngineError::io(&failed))?;
        records::put(&self.inner.store, &record, durability).await?;
        self.table().records.insert(name.clone(), record.clone());
        self.tell("create", &name, &[("driver", "local")]);
        if let Some(filling) = later {
            self.fill_in_turn(&record, filling).await?;
        }
        Ok(record)
    }

    /// Fills a volume that is there and empty. The caller has the turn.
    async fn fill_in_turn(&self, record: &StoredVolume, filling: Filling) -> Result<()> {
        let name = record.name.as_str();
        let failed = || EngineError::io(format!("filling volume {name}"));
        let dir = self.inner.dir.join(name);
        if options::filesystem(&record.options).is_none() {
            // In a volume that somebody may look into, the place itself must stay what it is.
            let alone = self.users(name).len() <= 1;
            return blocking(move || fill_later(&dir, &filling, alone))
                .await?
                .map_err(failed());
        }
        // A server need not be there yet for an image that has nothing to put on it.
        let wanted = filling.clone();
        if !blocking(move || wanted.has_directory())
            .await?
            .map_err(failed())?
        {
            return Ok(());
        }
        self.mount_in_turn(name, FILLING)
            .await
            .map_err(EngineError::cannot("failed to populate volume"))?;
        let filled = blocking(move || fill_later(&dir, &filling, false)).await;
        self.unmount_in_turn(name, FILLING).await;
        filled?.map_err(failed())
    }
}

/// Who has a volume mounted that is being filled. No container's id has this form.
const FILLING: &str = "filling";

impl Filling {
    /// Whether the image has anything that a volume could be filled with.
    fn has_directory(&self) -> std::io::Result<bool> {
        let found = LayeredRoot::new(self.layers.clone()).lookup(&self.place)?;
        Ok(matches!(found, Some(Node::Directory(_))))
    }
}

fn make(dir: &Path, filling: Option<&Filling>, synced: bool) -> std::io::Result<()> {
    make_dir(dir, 0o701)?;
    let beside = dir.join("_data.new");
    make_dir(&beside, 0o755)?;
    if let Some(filling) = filling
        && fill(filling, &beside)?
        && synced
    {
        rustix::fs::syncfs(File::open(&beside)?)?;
    }
    std::fs::rename(beside, dir.join("_data"))
}

/// Fills a volume that was made earlier, if it is still empty.
fn fill_later(dir: &Path, filling: &Filling, alone: bool) -> std::io::Result<()> {
    let place = dir.join("_data");
    if std::fs::read_dir(&place)?.next().is_some() {
        return Ok(());
    }
    if !alone {
        fill(filling, &place)?;
        return Ok(());
    }
    let beside = dir.join("_data.new");
    match std::fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    make_dir(&beside, 0o755)?;
    if !fill(filling, &beside)? {
        return std::fs::remove_dir(&beside);
    }
    rustix::fs::syncfs(File::open(&beside)?)?;
    match std::fs::rename(&beside, &place) {
        // Somebody has put something there by hand.
        Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => std::fs::remove_dir_all(&beside),
        result => result,
    }
}

/// Whether there was anything to fill it with.
fn fill(filling: &Filling, volume: &Path) -> std::io::Result<bool> {
    let root = LayeredRoot::new(filling.layers.clone());
    copy_up::fill(&root, &filling.place, volume)
}

fn make_dir(path: &Path, mode: u32) -> std::io::Result<()> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filling(root: &Path) -> Filling {
        std::fs::create_dir_all(root.join("data")).unwrap();
        std::fs::write(root.join("data/x"), "x").unwrap();
        Filling {
            layers: vec![root.to_owned()],
            place: "/data".into(),
        }
    }

    #[test]
    fn a_new_volume_appears_filled_and_what_a_crash_left_beside_it_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let filling = filling(&dir.path().join("layer"));
        let volume = dir.path().join("v");
        make(&volume, Some(&filling), true).unwrap();
        assert_eq!(std::fs::read(volume.join("_data/x")).unwrap(), b"x");
        assert!(!volume.join("_data.new").exists());

        let empty = dir.path().join("w");
        make(&empty, None, false).unwrap();
        std::fs::create_dir(empty.join("_data.new")).unwrap();
        std::fs::write(empty.join("_data.new/half"), "").unwrap();
        fill_later(&empty, &filling, true).unwrap();
        assert_eq!(std::fs::read(empty.join("_data/x")).unwrap(), b"x");
        assert!(!empty.join("_data/half").exists());
    }

    #[test]
    fn a_volume_in_use_keeps_its_place_and_one_with_content_its_content() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let filling = filling(&dir.path().join("layer"));
        let volume = dir.path().join("v");
        make(&volume, None, false).unwrap();
        let inode = std::fs::metadata(volume.join("_data")).unwrap().ino();
        fill_later(&volume, &filling, false).unwrap();
        assert_eq!(
            std::fs::metadata(volume.join("_data")).unwrap().ino(),
            inode
        );
        std::fs::write(volume.join("_data/x"), "mine").unwrap();
        fill_later(&volume, &filling, true).unwrap();
        assert_eq!(std::fs::read(volume.join("_data/x")).unwrap(), b"mine");
    }
}
