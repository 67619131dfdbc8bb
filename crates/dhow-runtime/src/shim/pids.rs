//! Children that are the shim's own affair. Those of a shim whose container has joined another one's processes are
//! born in that namespace, and these do not belong there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::sys;

/// Has programs run as children in the namespace of the shim itself. Not for a fork: its child would come back here.
pub(super) fn outside<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    let joined = File::open("/proc/self/ns/pid_for_children")?;
    let own = File::open("/proc/self/ns/pid")?;
    sys::setns(own.as_fd(), libc::CLONE_NEWPID)?;
    let done = run();
    sys::setns(joined.as_fd(), libc::CLONE_NEWPID)?;
    Ok(done)
}
