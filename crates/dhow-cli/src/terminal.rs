//! The user's terminal: raw mode that is undone whatever happens, size, resizes.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The settings from before, while the terminal is raw. Not in the guard alone, so that a signal's way
/// out of the process can restore them, too.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal is raw while this lives.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal of standard input raw.
    pub fn enter() -> io::Result<RawMode> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        if let Ok(mut saved) = SAVED.lock() {
            *saved = Some(before);
        }
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(RawMode(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was, if it is raw.
pub fn restore() {
    let saved = match SAVED.lock() {
        Ok(mut saved) => saved.take(),
        Err(poisoned) => poisoned.into_inner().take(),
    };
    if let Some(before) = saved {
        // There is nobody to tell, and nothing else to try.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
}

pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Rows and columns of the terminal of standard output.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_row > 0 || size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// How wide help may be.
pub fn columns() -> usize {
    match size() {
        Some((_, columns)) if columns > 0 => usize::from(columns),
        _ => 80,
    }
}

/// Reads a line without showing it.
pub fn read_password(prompt: &str) -> io::Result<String> {
    use std::io::Write as _;
    let stdin = rustix::stdio::stdin();
    let before = tcgetattr(stdin)?;
    let mut silent = before.clone();
    silent.local_modes -= rustix::termios::LocalModes::ECHO;
    if let Ok(mut saved) = SAVED.lock() {
        *saved = Some(before);
    }
    tcsetattr(stdin, OptionalActions::Now, &silent)?;
    let guard = RawMode(());
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    drop(guard);
    eprintln!();
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    /// Whether the terminal of standard input gives whole lines and echoes, as it does for a shell.
    fn is_cooked() -> bool {
        let modes = tcgetattr(rustix::stdio::stdin()).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[test]
    fn the_terminal_is_put_back_however_raw_mode_ends() {
        // This process's standard input becomes a terminal: no other test reads it.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        rustix::stdio::dup2_stdin(&slave).unwrap();
        if tcgetattr(rustix::stdio::stdin()).err() == Some(rustix::io::Errno::NOSYS) {
            // qemu's user emulation before version 8 doesn't know TCGETS2.
            return;
        }
        assert!(is_cooked());

        let raw = RawMode::enter().unwrap();
        assert!(!is_cooked());
        drop(raw);
        assert!(is_cooked());

        let panicked = std::panic::catch_unwind(|| {
            let _raw = RawMode::enter().unwrap();
            assert!(is_cooked(), "it is raw, so this panics");
        });
        assert!(panicked.is_err());
        assert!(is_cooked());

        // The way of a signal, whose handler has no guard to drop.
        let raw = RawMode::enter().unwrap();
        assert!(!is_cooked());
        restore();
        assert!(is_cooked());
        drop(raw);
        assert!(is_cooked());
    }
}
