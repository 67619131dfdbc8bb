//! The pid file: who the daemon is, for service managers.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    #[error(
        "process {pid} of the pid file {path} is still running: stop it, or give this daemon another --pidfile"
    )]
    Running { pid: u32, path: PathBuf },
    #[error("the pid file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Removed when it is dropped.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    pub fn write(path: &Path) -> Result<Pidfile, PidfileError> {
        let io = |source| PidfileError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(pid) = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok())
            .filter(|pid| *pid != std::process::id())
            && Path::new(&format!("/proc/{pid}")).exists()
        {
            return Err(PidfileError::Running {
                pid,
                path: path.to_owned(),
            });
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        std::fs::write(path, std::process::id().to_string()).map_err(io)?;
        Ok(Pidfile {
            path: path.to_owned(),
        })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // A pid file that can't be removed is found stale by the next daemon.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_not_overwritten_and_a_dead_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/d.pid");
        let file = Pidfile::write(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "1\n").unwrap();
        let refused = Pidfile::write(&path).unwrap_err().to_string();
        assert!(refused.contains("process 1 "), "{refused}");
        // Above the kernel's greatest process number.
        std::fs::write(&path, "4194305").unwrap();
        Pidfile::write(&path).unwrap();
    }
}
