//! The built-in init (Docker's `--init`): process 1 of the container reaps orphans, forwards signals and ends
//! as the user's program does. It is a fork of this process, with all its confinement; no file is needed.

use std::io;
use std::mem::MaybeUninit;

use super::failed;
use crate::protocol::StartError;
use crate::{shim, sys};

/// Forks; returns in the child, which is to exec the program. The parent stays behind as the init.
pub(crate) fn fork(terminal: bool) -> Result<(), StartError> {
    let all = all_signals();
    // Nothing may be lost between the fork and the first wait.
    // SAFETY: changes this thread's mask only.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()) };
    // SAFETY: this process has a single thread.
    match unsafe { libc::fork() } {
        -1 => Err(failed("forking the container's init")(
            io::Error::last_os_error(),
        )),
        0 => {
            // A process group of its own gets the terminal's signals, and the init none.
            let _ = rustix::process::setpgid(None, None);
            if terminal {
                // The mask keeps SIGTTOU from stopping this.
                let _ =
                    rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
            }
            shim::signals::restore();
            Ok(())
        }
        child => {
            let _ = rustix::thread::set_name(c"dhow-init");
            // SAFETY: this process goes on only in `run`, which uses no descriptor; the reports are the
            // child's, and the end of them must be when it execs.
            unsafe { sys::close_from(3) };
            run(child, &all)
        }
    }
}

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initializes the set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn run(child: i32, signals: &libc::sigset_t) -> ! {
    loop {
        // SAFETY: waits for a signal of an initialized set.
        let signal = unsafe { libc::sigwaitinfo(signals, std::ptr::null_mut()) };
        if signal == libc::SIGCHLD {
            let mut code = None;
            while let Ok(Some((ended, status))) = sys::reap(-1, false) {
                if ended == child {
                    code = Some(status);
                }
            }
            if let Some(code) = code {
                // SAFETY: ends the process without running anything of the shim's.
                unsafe { libc::_exit(code) }
            }
        } else if signal > 0 {
            // SAFETY: a signal to a process that is not reaped before it is seen above.
            unsafe { libc::kill(child, signal) };
        }
    }
}
