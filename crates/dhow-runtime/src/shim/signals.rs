//! Signals of the spawner and the shims.
//!
//! Both leave the daemon's session, so that a terminal's signals do not reach them; what the daemon ignored
//! or blocked is put back, because an ignored signal stays ignored through exec.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Sets every signal to its default action and unblocks all.
fn reset() {
    // SAFETY: a zeroed sigaction is SIG_DFL with an empty mask; the mask is initialized by sigemptyset.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            // Fails for SIGKILL, SIGSTOP and libc's own, which have no other action anyway.
            libc::sigaction(signal, &default, std::ptr::null_mut());
        }
        libc::sigprocmask(libc::SIG_SETMASK, &set(&[]), std::ptr::null_mut());
    }
}

/// In a child of a shim, before its exec: what the spawner and the shim have changed is put back.
pub(crate) fn restore() {
    // SAFETY: dispositions and the mask of this single-threaded process.
    unsafe {
        for signal in [
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGHUP,
            libc::SIGPIPE,
            libc::SIGCHLD,
        ] {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &set(&[]), std::ptr::null_mut());
    }
}

/// The spawner reaps nothing: the kernel does for a parent that ignores SIGCHLD. A broken pipe is an error
/// of the write that meets it.
pub(crate) fn reset_for_spawner() {
    reset();
    // SAFETY: setting a signal's disposition to a constant touches no memory.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// In the shim: SIGCHLD is delivered by a descriptor, and keys and hang-ups meant for others do nothing.
pub(crate) fn child_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: dispositions and masks of this single-threaded process; signalfd reads an initialized mask.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_IGN);
        }
        let mask = set(&[libc::SIGCHLD]);
        libc::sigprocmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut());
        match libc::signalfd(-1, &mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn set(signals: &[i32]) -> libc::sigset_t {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set that sigaddset then changes.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(mask.as_mut_ptr(), *signal);
        }
        mask.assume_init()
    }
}
