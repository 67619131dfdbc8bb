//! The container's terminal: a pair from its own devpts, so that its programs can name it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FsWord, Mode, OFlags, makedev};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::failed;
use super::mounts::Plan;
use super::procfs::Procfs;
use super::resolve;
use crate::protocol::StartError;

/// The kernel's include/uapi/linux/magic.h.
const DEVPTS_SUPER_MAGIC: FsWord = 0x1cd1;

pub(crate) struct Terminal {
    /// The end that the shim reads and writes.
    pub controller: OwnedFd,
    /// The end that is the process's standard streams.
    pub user: OwnedFd,
}

/// Opens a terminal in a root filesystem that is being made, and binds it to its /dev/console.
pub(crate) fn open(plan: &Plan<'_>, size: Option<(u16, u16)>) -> Result<Terminal, StartError> {
    let terminal = open_in(plan.root(), plan.procfs(), size)?;
    let target = plan.file_to_cover(Path::new("/dev/console"))?;
    rustix::mount::mount_bind(resolve::fd_path(&terminal.user), resolve::fd_path(&target))
        .map_err(failed("binding the terminal to /dev/console"))?;
    Ok(terminal)
}

/// Opens a terminal in the devpts beneath a root. What is there is looked at before it is opened: it may be
/// anything in an image, in a volume, or in a container that runs.
pub(crate) fn open_in(
    root: &OwnedFd,
    procfs: &Procfs,
    size: Option<(u16, u16)>,
) -> Result<Terminal, StartError> {
    let what = || failed("opening a terminal in /dev/pts");
    let path = Path::new("/dev/pts/ptmx");
    let found = resolve::open_beneath(root, path, OFlags::PATH, Mode::empty()).map_err(what())?;
    if rustix::fs::fstatfs(&found).map_err(what())?.f_type != DEVPTS_SUPER_MAGIC
        || rustix::fs::fstat(&found).map_err(what())?.st_rdev != makedev(5, 2)
    {
        return Err(StartError::Other(
            "the container's /dev/pts/ptmx is not a terminal's".into(),
        ));
    }
    let controller = procfs
        .reopen(&found, OFlags::RDWR | OFlags::NOCTTY)
        .map_err(what())?;
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
