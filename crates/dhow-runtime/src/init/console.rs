//! The container's terminal: a pair from its own devpts, so that its programs can name it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::failed;
use super::mounts::Plan;
use super::resolve;
use crate::protocol::StartError;

pub(crate) struct Terminal {
    /// The end that the shim reads and writes.
    pub controller: OwnedFd,
    /// The end that is the process's standard streams.
    pub user: OwnedFd,
}

/// Opens a terminal in a root filesystem that is being made, and binds it to its /dev/console.
pub(crate) fn open(
    plan: &Plan<'_>,
    size: Option<(u16, u16)>,
    console: bool,
) -> Result<Terminal, StartError> {
    let terminal = open_in(plan.root(), size)?;
    if console {
        let target = plan.file(Path::new("/dev/console"))?;
        rustix::mount::mount_bind(resolve::fd_path(&terminal.user), resolve::fd_path(&target))
            .map_err(failed("binding the terminal to /dev/console"))?;
    }
    Ok(terminal)
}

/// Opens a terminal in the devpts beneath a root.
pub(crate) fn open_in(root: &OwnedFd, size: Option<(u16, u16)>) -> Result<Terminal, StartError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let controller = resolve::open_beneath(root, Path::new("/dev/pts/ptmx"), flags, Mode::empty())
        .map_err(failed("opening a terminal in /dev/pts"))?;
    rustix::pty::unlockpt(&controller).map_err(failed("unlocking the terminal"))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let user = rustix::pty::ioctl_tiocgptpeer(&controller, flags)
        .map_err(failed("opening the terminal"))?;
    if let Some((rows, cols)) = size {
        resize(&controller, rows, cols).map_err(failed("setting the terminal's size"))?;
    }
    Ok(Terminal { controller, user })
}

pub(crate) fn resize(controller: &OwnedFd, rows: u16, cols: u16) -> rustix::io::Result<()> {
    rustix::termios::tcsetwinsize(
        controller,
        Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
}
