//! The data-root's lock: one daemon at a time. The kernel lets go of it however the daemon ends, so a
//! stale lock does not exist.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{EngineError, Result};

/// Held as long as it lives.
#[derive(Debug)]
pub struct DataRootLock {
    _file: File,
}

impl DataRootLock {
    pub fn take(data_root: &Path) -> Result<DataRootLock> {
        let path = data_root.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(EngineError::io(path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The number only makes the message better.
                let _ = file.read_to_string(&mut pid);
                let holder = match pid.trim() {
                    "" => "another daemon".to_owned(),
                    pid => format!("another daemon, process {pid}"),
                };
                return Err(EngineError::DataRootInUse {
                    path: data_root.to_owned(),
                    holder,
                });
            }
            Err(e) => return Err(EngineError::io(path.display())(e.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(EngineError::io(path.display()))?;
        Ok(DataRootLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_holds_the_data_root() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataRootLock::take(dir.path()).unwrap();
        let refused = DataRootLock::take(dir.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(held);
        DataRootLock::take(dir.path()).unwrap();
    }
}
