//! Deleting directories without keeping anyone waiting: they are renamed into a directory of their own, and
//! emptied by one thread when nothing else is to be done. What a crash leaves there is deleted by the next
//! start. What is mounted in one of them is somebody else's: such a directory is left as it is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use dhow_runtime::filesystem;

/// A nice value, with a tenth of the usual share where processors are short: nobody waits for what is deleted, but it is to be
/// gone some day.
const NOT_URGENT: i32 = 10;

pub struct Trash {
    dir: PathBuf,
    next: AtomicU64,
    queue: mpsc::Sender<PathBuf>,
}

/// How much of a name is kept, for whoever looks into the directory.
const SHOWN: usize = 32;

impl Trash {
    /// Takes over what is left in `dir` of earlier runs, and says how many directories that was.
    pub fn open(dir: PathBuf) -> std::io::Result<(Trash, usize)> {
        std::fs::create_dir_all(&dir)?;
        let (queue, jobs) = mpsc::channel::<PathBuf>();
        std::thread::Builder::new()
            .name("trash".into())
            .spawn(move || {
                // Of this thread, on Linux. Where it may not be changed it stays.
                let _ = rustix::process::setpriority_process(None, NOT_URGENT);
                for path in jobs {
                    if let Err(e) = remove(&path) {
                        tracing::warn!(path = %path.display(), error = %e, "left for the next start to delete");
                    }
                }
            })?;
        let mut left = 0;
        for entry in std::fs::read_dir(&dir)? {
            left += 1;
            // The receiver lives as long as this sender.
            let _ = queue.send(entry?.path());
        }
        let trash = Trash {
            dir,
            next: AtomicU64::new(0),
            queue,
        };
        Ok((trash, left))
    }

    /// Takes a directory out of sight at once. One that is gone already is no error.
    pub fn discard(&self, path: &Path) -> std::io::Result<()> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // It may be as long as a name can be.
        let name: String = name.chars().take(SHOWN).collect();
        let aside = self.dir.join(format!("{}-{n}-{name}", std::process::id()));
        match std::fs::rename(path, &aside) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        // The thread ends with the engine; what it has not got to is deleted by the next.
        let _ = self.queue.send(aside);
        Ok(())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if let Some(at) = filesystem::mounts_beneath(path)?.first() {
        return Err(std::io::Error::other(format!(
            "something is mounted at {}: unmount it",
            at.display()
        )));
    }
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => std::fs::remove_file(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_is_out_of_sight_at_once_and_a_crash_leaves_work_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (a, bin) = (dir.path().join("a"), dir.path().join("trash"));
        std::fs::create_dir_all(a.join("b")).unwrap();
        let (trash, left) = Trash::open(bin.clone()).unwrap();
        assert_eq!(left, 0);
        trash.discard(&a).unwrap();
        trash.discard(&a).unwrap();
        assert!(!a.exists());
        drop(trash);
        std::fs::create_dir_all(bin.join("left/over")).unwrap();
        assert!(Trash::open(bin).unwrap().1 >= 1);
    }

    #[test]
    fn what_is_mounted_in_a_directory_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let thing = dir.path().join("thing");
        let at = thing.join("deep/inside");
        std::fs::create_dir_all(&at).unwrap();
        let tmpfs = filesystem::Filesystem {
            source: "tmpfs".into(),
            kind: "tmpfs".into(),
            options: "size=1m".into(),
        };
        tmpfs.mount(&at).unwrap();
        std::fs::write(at.join("kept"), "").unwrap();
        let refused = remove(&thing).unwrap_err().to_string();
        let kept = at.join("kept").exists();
        filesystem::unmount(&at).unwrap();
        assert!(kept && refused.contains("deep/inside"), "{refused}");
        remove(&thing).unwrap();
        assert!(!thing.exists());
    }
}
