//! Start-up: the layout, and what an earlier process left behind.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::upload::{Session, SessionRecord};
use crate::storage::UploadId;

/// Of the directory; a newer server upgrades an older one, an older server leaves a newer one alone.
const LAYOUT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct LayoutRecord {
    layout: u32,
}

/// What start-up found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Uploads that clients may take up again.
    pub uploads_kept: usize,
    /// Uploads that nobody has touched for too long.
    pub uploads_expired: usize,
    /// Files that a crash left.
    pub leftovers: usize,
}

/// Makes the directories if they aren't there, and takes the lock.
pub(super) fn prepare(root: &Path) -> io::Result<File> {
    for directory in ["uploads", "repositories", "blobs/sha256", "blobs/sha512"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(root.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
        |e| {
            if e == rustix::io::Errno::WOULDBLOCK {
                let message = format!("another registry is serving {}", root.display());
                io::Error::new(io::ErrorKind::ResourceBusy, message)
            } else {
                e.into()
            }
        },
    )?;
    check_layout(root)?;
    for directory in ["blobs/sha256", "blobs/sha512", "blobs", "", ".."] {
        File::open(root.join(directory))?.sync_all()?;
    }
    Ok(lock)
}

fn check_layout(root: &Path) -> io::Result<()> {
    let path = root.join("registry.json");
    match super::found(fs::read(&path))? {
        Some(bytes) => {
            let found: LayoutRecord = serde_json::from_slice(&bytes)?;
            if found.layout > LAYOUT {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!(
                        "{} has layout {}, this server knows up to {LAYOUT}: use a newer one",
                        root.display(),
                        found.layout
                    ),
                ));
            }
            Ok(())
        }
        None => {
            let temporary = root.join("uploads/registry.tmp");
            fs::write(
                &temporary,
                serde_json::to_vec(&LayoutRecord { layout: LAYOUT })?,
            )?;
            File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &path)
        }
    }
}

/// Takes over the uploads of an earlier process, and removes what can't be gone on with.
pub(super) fn recover(
    root: &Path,
    expiry: Duration,
) -> io::Result<(HashMap<UploadId, Arc<Session>>, Recovered)> {
    let mut sessions = HashMap::new();
    let mut recovered = Recovered::default();
    let directory = root.join("uploads");
    let entries = fs::read_dir(&directory)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    // An upload's data comes before its record, which decides over both.
    paths.sort();
    for path in paths {
        let id = path
            .file_stem()
            .and_then(|s| s.to_str())
            .and_then(|s| s.parse::<UploadId>().ok());
        match (path.extension().and_then(|s| s.to_str()), id) {
            (Some("json"), Some(id)) => match take_over(&path, id, expiry)? {
                Found::Session(session) => {
                    sessions.insert(id, Arc::new(session));
                    recovered.uploads_kept += 1;
                }
                Found::Expired => {
                    remove(&path)?;
                    remove(&path.with_extension("data"))?;
                    recovered.uploads_expired += 1;
                }
                Found::Broken => {
                    remove(&path)?;
                    remove(&path.with_extension("data"))?;
                    recovered.leftovers += 1;
                }
            },
            // An upload that was never kept.
            (Some("data"), Some(_)) if !path.with_extension("json").try_exists()? => {
                remove(&path)?;
                recovered.leftovers += 1;
            }
            (Some("tmp"), _) => {
                remove(&path)?;
                recovered.leftovers += 1;
            }
            _ => {}
        }
    }
    Ok((sessions, recovered))
}

enum Found {
    Session(Session),
    Expired,
    Broken,
}

fn take_over(path: &Path, id: UploadId, expiry: Duration) -> io::Result<Found> {
    let record: Option<SessionRecord> = serde_json::from_slice(&fs::read(path)?).ok();
    let data = super::found(fs::metadata(path.with_extension("data")))?;
    let (Some(record), Some(data)) = (record, data) else {
        return Ok(Found::Broken);
    };
    if age(&data)? > expiry {
        return Ok(Found::Expired);
    }
    match (record.repository.parse(), record.algorithm.parse()) {
        (Ok(repository), Ok(algorithm)) => Ok(Found::Session(Session::new(
            id,
            repository,
            algorithm,
            data.len(),
        ))),
        _ => Ok(Found::Broken),
    }
}

fn age(metadata: &Metadata) -> io::Result<Duration> {
    // A time in the future is as good as now.
    Ok(metadata.modified()?.elapsed().unwrap_or_default())
}

fn remove(path: &Path) -> io::Result<()> {
    super::found(fs::remove_file(path)).map(|_| ())
}
