//! The exit record: how a container's process ended, in the container's directory.
//!
//! It appears by rename, whole or not at all, before anyone is told of the exit; it is what a daemon finds
//! that was not there when the container ended.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::protocol::ExitRecord;

const NAME: &str = "exit.json";

fn path(bundle: &Path) -> PathBuf {
    bundle.join(NAME)
}

/// The exit record of the container's last run, if that has ended.
pub fn read_exit_record(bundle: &Path) -> io::Result<Option<ExitRecord>> {
    match std::fs::read(path(bundle)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the record of an earlier run away; a start does it, before anything else.
pub fn remove_exit_record(bundle: &Path) -> io::Result<()> {
    match std::fs::remove_file(path(bundle)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the record; with `sync` it survives power loss.
pub(crate) fn write_exit_record(bundle: &Path, record: &ExitRecord, sync: bool) -> io::Result<()> {
    let temporary = bundle.join("exit.json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    if sync {
        file.sync_data()?;
    }
    std::fs::rename(&temporary, path(bundle))?;
    if sync {
        File::open(bundle)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_exit_record(dir.path()).unwrap(), None);
        let record = ExitRecord {
            code: 137,
            oom_killed: true,
            started_at: 1,
            finished_at: 2,
        };
        for sync in [false, true] {
            write_exit_record(dir.path(), &record, sync).unwrap();
            assert_eq!(read_exit_record(dir.path()).unwrap(), Some(record.clone()));
        }
        remove_exit_record(dir.path()).unwrap();
        remove_exit_record(dir.path()).unwrap();
        assert_eq!(read_exit_record(dir.path()).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
