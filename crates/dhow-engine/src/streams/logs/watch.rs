//! Waits for a log to change: inotify(7) on its directory, which sees writes to the file as well as its
//! rotation.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

pub struct Watch {
    fd: AsyncFd<OwnedFd>,
    name: Vec<u8>,
}

impl Watch {
    /// Watches the file at `path`, there or not; its directory must be there.
    pub fn new(path: &Path) -> io::Result<Watch> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(
            &fd,
            dir,
            inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_FROM
                | inotify::WatchFlags::MOVED_TO
                | inotify::WatchFlags::DELETE_SELF
                | inotify::WatchFlags::ONLYDIR,
        )?;
        Ok(Watch {
            // SAFETY: an `OwnedFd` gives the same descriptor each time it is asked, and closes it only when
            // it is dropped, after it was taken out of the reactor.
            fd: unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)?,
            name: std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec(),
        })
    }

    /// Returns when something may have changed since the last call. Cancel safe.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut relevant = false;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(ready.get_inner(), &mut buffer);
            loop {
                match reader.next() {
                    // An event without a name is about the directory, or tells that some were lost.
                    Ok(event) => {
                        relevant |= event
                            .file_name()
                            .is_none_or(|n| n.to_bytes().starts_with(&self.name));
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            ready.clear_ready();
            if relevant {
                return Ok(());
            }
        }
    }
}
