//! Waits for logs to change: inotify(7) on their directories, which sees writes to a file as well as its
//! rotation. All who follow share one instance, of which the kernel gives a user few
//! (`fs.inotify.max_user_instances`, 128 by default); one that nobody uses is closed.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The log watches of one engine.
#[derive(Debug, Default)]
pub struct Watcher {
    instance: Mutex<Weak<Instance>>,
}

#[derive(Debug)]
struct Instance {
    kernel: Arc<Kernel>,
    reader: JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug)]
struct Kernel {
    fd: AsyncFd<OwnedFd>,
    /// By watch descriptor: one a directory.
    directories: Mutex<HashMap<i32, Vec<Follower>>>,
}

#[derive(Debug)]
struct Follower {
    /// What the names of the log's files begin with.
    name: Vec<u8>,
    wake: Arc<Notify>,
}

/// A log that is watched, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    instance: Arc<Instance>,
    descriptor: i32,
    wake: Arc<Notify>,
}

impl Watcher {
    /// Watches the file at `path`, there or not; its directory must be there.
    pub fn watch(&self, path: &Path) -> io::Result<Watch> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let instance = {
            let mut shared = self.instance.lock().unwrap_or_else(|e| e.into_inner());
            match shared.upgrade() {
                Some(instance) => instance,
                None => {
                    let instance = Arc::new(Instance::new()?);
                    *shared = Arc::downgrade(&instance);
                    instance
                }
            }
        };
        let wake = Arc::new(Notify::new());
        // Held over both, so that nobody takes the directory's watch away in between.
        let mut directories = instance.kernel.directories();
        let descriptor = inotify::add_watch(
            instance.kernel.fd.get_ref(),
            directory,
            inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_FROM
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::DELETE_SELF
                | inotify::WatchFlags::ONLYDIR,
        )?;
        directories.entry(descriptor).or_default().push(Follower {
            name: name.as_bytes().to_vec(),
            wake: wake.clone(),
        });
        drop(directories);
        Ok(Watch {
            instance,
            descriptor,
            wake,
        })
    }
}

impl Watch {
    /// Returns when something may have changed since the last call. Cancel safe.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let kernel = &self.instance.kernel;
        let mut directories = kernel.directories();
        if let Some(followers) = directories.get_mut(&self.descriptor) {
            followers.retain(|f| !Arc::ptr_eq(&f.wake, &self.wake));
            if followers.is_empty() {
                directories.remove(&self.descriptor);
                // The directory may be gone, and its watch with it.
                let _ = inotify::remove_watch(kernel.fd.get_ref(), self.descriptor);
            }
        }
    }
}

impl Instance {
    fn new() -> io::Result<Instance> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let kernel = Arc::new(Kernel {
            // SAFETY: an `OwnedFd` gives the same descriptor each time it is asked, and closes it only when
            // it is dropped, after it was taken out of the reactor.
            fd: unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)?,
            directories: Mutex::default(),
        });
        let reading = kernel.clone();
        let reader = tokio::spawn(async move {
            if let Err(error) = reading.read().await {
                tracing::error!(%error, "logs can't be watched any more: who follows one sees no more of it");
            }
        });
        Ok(Instance { kernel, reader })
    }
}

impl Kernel {
    fn directories(&self) -> MutexGuard<'_, HashMap<i32, Vec<Follower>>> {
        self.directories.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn read(&self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(ready.get_inner(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => self.wake(event.wd(), event.file_name().map(|n| n.to_bytes())),
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            ready.clear_ready();
        }
    }

    fn wake(&self, descriptor: i32, name: Option<&[u8]>) {
        let directories = self.directories();
        // -1 tells that events were lost: anyone's.
        let concerned = directories
            .iter()
            .filter(|(wd, _)| descriptor == -1 || **wd == descriptor)
            .flat_map(|(_, followers)| followers);
        for follower in concerned {
            // An event without a name is about the directory.
            if name.is_none_or(|n| n.starts_with(&follower.name)) {
                follower.wake.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances() -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.to_string_lossy().contains("inotify"))
            .count()
    }

    #[tokio::test]
    async fn many_watches_are_one_instance_and_each_wakes_for_its_own() {
        let before = instances();
        let watcher = Watcher::default();
        let dirs: Vec<_> = (0..200).map(|_| tempfile::tempdir().unwrap()).collect();
        let watches: Vec<_> = dirs
            .iter()
            .map(|dir| watcher.watch(&dir.path().join("log")).unwrap())
            .collect();
        let second = watcher.watch(&dirs[7].path().join("log")).unwrap();
        let other = watcher.watch(&dirs[7].path().join("other")).unwrap();
        assert!(instances() <= before + 1 + 8, "the other tests have a few");
        std::fs::write(dirs[7].path().join("log.1"), "x").unwrap();
        watches[7].changed().await;
        second.changed().await;
        let untouched = other.changed();
        tokio::pin!(untouched);
        assert!(futures_util::poll!(&mut untouched).is_pending());
        drop(second);
        std::fs::write(dirs[7].path().join("log"), "y").unwrap();
        watches[7].changed().await;
        drop(watches);
        std::fs::write(dirs[7].path().join("other"), "z").unwrap();
        untouched.await;
    }
}
