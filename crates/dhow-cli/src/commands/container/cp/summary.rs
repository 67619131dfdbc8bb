//! How far a copy is, on the terminal while it goes on, and in a sentence when it is done.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::format::units;

/// How often the line is written again.
const PAUSE: Duration = Duration::from_millis(75);

pub struct Progress {
    quiet: bool,
    bytes: Arc<AtomicU64>,
    line: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn begin(header: &'static str, quiet: bool) -> Progress {
        let bytes = Arc::new(AtomicU64::new(0));
        let shown = !quiet && std::io::stderr().is_terminal();
        let line = shown.then(|| tokio::spawn(show(header, bytes.clone())));
        Progress { quiet, bytes, line }
    }

    pub fn counter(&self) -> Arc<AtomicU64> {
        self.bytes.clone()
    }

    /// So many bytes have gone over the connection.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says what was copied: the files' contents, where they are known, and what went over the connection where
    /// that is not the same.
    pub fn end(self, contents: Option<u64>, to: &str) {
        if self.quiet {
            return;
        }
        let transferred = self.bytes();
        drop(self);
        // Without a standard error nobody is to be told.
        let _ = writeln!(
            std::io::stderr(),
            "{}",
            sentence(contents.unwrap_or(transferred), transferred, to)
        );
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.abort();
            let _ = write!(std::io::stderr(), "\r\x1b[2K\x1b[?25h");
        }
    }
}

async fn show(header: &'static str, bytes: Arc<AtomicU64>) {
    let mut last = None;
    loop {
        let now = bytes.load(Ordering::Relaxed);
        if last != Some(now) {
            let line = format!("\x1b[?25l\r\x1b[2K{header}{}", size(now));
            let _ = std::io::stderr().write_all(line.as_bytes());
            last = Some(now);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn size(bytes: u64) -> String {
    units::size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn sentence(contents: u64, transferred: u64, to: &str) -> String {
    let contents_shown = size(contents);
    match contents == transferred {
        true => format!("Successfully copied {contents_shown} to {to}"),
        false => format!(
            "Successfully copied {contents_shown} (transferred {}) to {to}",
            size(transferred)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sizes_are_said_where_they_differ() {
        assert_eq!(sentence(0, 0, "/x"), "Successfully copied 0B to /x");
        assert_eq!(
            sentence(5, 2048, "web:/x"),
            "Successfully copied 5B (transferred 2.05kB) to web:/x"
        );
    }
}
