//! Compression of a log's rotated files, by a child of the shim: it would keep the container from writing for
//! as long as it takes, and there is no second thread.
//!
//! The child writes to a file beside; when it has ended well, the shim gives that its name and takes the
//! plain one away. So a reader finds one of the two at any time, and a child that is killed leaves nothing that
//! counts. What was not compressed when a container ended is compressed after its next start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use flate2::{Compression, GzBuilder};

use crate::logfile::{self, FileId};
use crate::sys::{self, Cloned};

pub(super) struct Compressor {
    path: PathBuf,
    max_file: u32,
    child: Option<Child>,
}

struct Child {
    pid: i32,
    /// The number that its file has by now.
    number: u32,
}

impl Compressor {
    pub fn new(path: PathBuf, max_file: u32) -> Self {
        Self {
            path,
            max_file,
            child: None,
        }
    }

    /// The file of this number has become one older, or has gone if none is.
    pub fn aged(&mut self, number: u32) {
        if let Some(child) = &mut self.child
            && child.number == number
        {
            child.number += 1;
        }
    }

    /// Begins with the oldest file that is still plain, if there is one, and no child yet.
    pub fn go_on(&mut self) {
        if self.child.is_some() {
            return;
        }
        let plain = |number: &u32| logfile::numbered(&self.path, *number).exists();
        if let Some(number) = (1..self.max_file).rev().find(plain) {
            // The file stays as it is, and the next rotation tries again.
            self.child = self.begin(number).ok();
        }
    }

    fn begin(&self, number: u32) -> io::Result<Child> {
        let source = File::open(logfile::numbered(&self.path, number))?;
        let target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(logfile::unfinished(&self.path))?;
        // A shim whose container has joined another's processes has its children there: not this one.
        let joined = File::open("/proc/self/ns/pid_for_children")?;
        let own = File::open("/proc/self/ns/pid")?;
        sys::setns(own.as_fd(), libc::CLONE_NEWPID)?;
        // SAFETY: the shim has a single thread.
        let cloned = unsafe { sys::clone3(0, None) };
        if !matches!(cloned, Ok(Cloned::Child)) {
            sys::setns(joined.as_fd(), libc::CLONE_NEWPID)?;
        }
        match cloned? {
            Cloned::Parent { pid, .. } => Ok(Child { pid, number }),
            Cloned::Child => {
                // SAFETY: this process does nothing any more but with these two, and ends without
                // dropping anything.
                unsafe { sys::close_all_but(&mut [source.as_fd(), target.as_fd()]) };
                let code = match compress(&source, &target) {
                    Ok(()) => 0,
                    Err(_) => 1,
                };
                // SAFETY: ends the process, with nothing of its parent's run at its exit.
                unsafe { libc::_exit(code) }
            }
        }
    }

    pub fn child_ended(&mut self, pid: i32, code: i32) {
        let Some(Child { number, .. }) = self.child.take_if(|child| child.pid == pid) else {
            return;
        };
        let unfinished = logfile::unfinished(&self.path);
        let plain = logfile::numbered(&self.path, number);
        let kept = number < self.max_file && code == 0;
        let named =
            kept && std::fs::rename(&unfinished, logfile::compressed(&self.path, number)).is_ok();
        // Where one is left the other is not lost, and the next child begins anew.
        let _ = std::fs::remove_file(if named { plain } else { unfinished });
        if code == 0 {
            self.go_on();
        }
    }

    /// Ends a child, and what it has made so far. Works twice.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            // SAFETY: kill with integers; the child has not been reaped, so the number is its own.
            unsafe { libc::kill(child.pid, libc::SIGKILL) };
            // It may have been rotated away.
            let _ = std::fs::remove_file(logfile::unfinished(&self.path));
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// In the child.
fn compress(source: &File, target: &File) -> io::Result<()> {
    // It does not outlive the shim, and comes after all that is not idle.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let _ = rustix::process::nice(19);
    let id = FileId::of(source)?;
    let modified = source.metadata()?.modified()?;
    let mut encoder = GzBuilder::new()
        .comment(id.to_comment())
        .write(target, Compression::fast());
    io::copy(&mut &*source, &mut encoder)?;
    encoder.finish()?;
    target.set_modified(modified)
}
