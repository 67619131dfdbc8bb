//! Directories on the disk: made with their parents, and flushed in groups. A new name is durable when the
//! directory that holds it is, and requests that wait for the same directory share one flush.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Flushed = Result<(), Arc<io::Error>>;

pub(super) struct Directories {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Known to be on the disk with all their parents, up to the root. Directories are never removed while
    /// a server runs.
    durable: HashSet<PathBuf>,
    next: Group,
    flushing: bool,
}

impl State {
    /// Takes note of flushed directories. One whose parent still waits for its own flush is not yet safe.
    fn add_durable(&mut self, flushed: HashSet<PathBuf>) {
        let mut flushed: Vec<_> = flushed.into_iter().collect();
        flushed.sort(); // a parent comes before its children
        for directory in flushed {
            if directory
                .parent()
                .is_some_and(|parent| self.durable.contains(parent))
            {
                self.durable.insert(directory);
            }
        }
    }
}

#[derive(Default)]
struct Group {
    directories: HashSet<PathBuf>,
    waiting: Vec<oneshot::Sender<Flushed>>,
}

impl Directories {
    /// For a root that is on the disk.
    pub fn new(root: &Path) -> Directories {
        let mut state = State::default();
        state.durable.insert(root.to_owned());
        Directories {
            root: root.to_owned(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `directory`, which lies below the root, and what of its parents is missing; adds what must be
    /// flushed before it is durable to `changed`. Blocks.
    pub fn make(&self, directory: &Path, changed: &mut Vec<PathBuf>) -> io::Result<()> {
        if self.state().durable.contains(directory) {
            return Ok(());
        }
        std::fs::create_dir_all(directory)?;
        // Whoever made them may not have flushed them yet.
        let parents = directory
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&self.root));
        changed.extend(parents.map(Path::to_owned));
        changed.push(directory.to_owned());
        Ok(())
    }

    /// Flushes directories, together with those of every request that waits at the same time.
    pub async fn sync(self: &Arc<Self>, directories: Vec<PathBuf>) -> io::Result<()> {
        let (sender, flushed) = oneshot::channel();
        let lead = {
            let mut state = self.state();
            state.next.directories.extend(directories);
            state.next.waiting.push(sender);
            !std::mem::replace(&mut state.flushing, true)
        };
        if lead {
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.flush());
        }
        match flushed.await {
            Ok(result) => result.map_err(|e| io::Error::new(e.kind(), e)),
            Err(_) => Err(io::Error::other("the flush of a directory was abandoned")),
        }
    }

    fn flush(&self) {
        loop {
            let group = {
                let mut state = self.state();
                let group = std::mem::take(&mut state.next);
                if group.waiting.is_empty() {
                    state.flushing = false;
                    return;
                }
                group
            };
            let result = group
                .directories
                .iter()
                .try_for_each(|directory| File::open(directory)?.sync_all());
            if result.is_ok() {
                self.state().add_durable(group.directories);
            }
            let result = result.map_err(Arc::new);
            for waiting in group.waiting {
                // A request that is gone needs no answer.
                let _ = waiting.send(result.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_requests_make_and_flush_at_once() {
        let root = tempfile::tempdir().unwrap();
        let directories = Arc::new(Directories::new(root.path()));
        let tasks: Vec<_> = (0..50)
            .map(|i| {
                let directories = directories.clone();
                let path = root.path().join(format!("a/{}", i % 7));
                tokio::spawn(async move {
                    let mut changed = Vec::new();
                    directories.make(&path, &mut changed)?;
                    directories.sync(changed).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let mut changed = Vec::new();
        directories
            .make(&root.path().join("a/3"), &mut changed)
            .unwrap();
        assert!(
            changed.is_empty(),
            "a directory that is on the disk needs no flush"
        );
    }

    #[tokio::test]
    async fn a_directory_is_safe_only_with_its_parents() {
        let root = tempfile::tempdir().unwrap();
        let directories = Arc::new(Directories::new(root.path()));
        let path = root.path().join("a/b");
        std::fs::create_dir_all(&path).unwrap();
        directories.sync(vec![path.clone()]).await.unwrap();
        let mut changed = Vec::new();
        directories.make(&path, &mut changed).unwrap();
        assert!(
            changed.contains(&root.path().join("a")),
            "its parent may not be on the disk yet"
        );
        assert!(changed.contains(&root.path().to_owned()));
    }

    #[tokio::test]
    async fn a_failed_flush_fails_its_requests() {
        let root = tempfile::tempdir().unwrap();
        let directories = Arc::new(Directories::new(root.path()));
        assert!(
            directories
                .sync(vec![root.path().join("missing")])
                .await
                .is_err()
        );
        assert!(directories.sync(vec![root.path().to_owned()]).await.is_ok());
    }
}
