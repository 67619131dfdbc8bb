//! Starting a daemon where none listens: only on the default socket, and only for root.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dhow_client::Client;

use crate::error::{Result, message};

const LOG: &str = "/var/log/dhow.log";
/// A store that has much to recover may take a while.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How much of the log of a daemon that failed is shown.
const LAST_LINES: usize = 10;

/// Starts `dhow daemon` in the background, and returns when it answers.
pub async fn start(client: &Client) -> Result<()> {
    let (mut log, begin) = open_log().map_err(|error| {
        message(format!(
            "no daemon is running, and none could be started: {LOG}: {error}"
        ))
    })?;
    eprintln!("No daemon is running: starting one. Its log is {LOG}.");
    let mut child = spawn(&log)
        .map_err(|error| message(format!("the daemon could not be started: {error}")))?;
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // Whichever answers is right: somebody else may have started one in the same moment.
        if client.ping().await.is_ok() {
            return Ok(());
        }
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            let how = match ended {
                Some(status) => format!("the daemon ended ({status}) before it listened"),
                None => format!("the daemon does not answer after {} s", PATIENCE.as_secs()),
            };
            if ended.is_some() && client.ping().await.is_ok() {
                return Ok(());
            }
            let lines = last_lines(&mut log, begin).unwrap_or_default();
            return Err(message(format!(
                "{how}; the end of its log {LOG}:\n{lines}"
            )));
        }
    }
}

/// The log, and where this daemon's part of it begins.
fn open_log() -> io::Result<(File, u64)> {
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(LOG)?;
    let begin = log.seek(SeekFrom::End(0))?;
    Ok((log, begin))
}

fn spawn(log: &File) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("dhow")
        .arg("daemon")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .current_dir("/");
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe and touches no
    // memory.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    command.spawn()
}

fn last_lines(log: &mut File, begin: u64) -> io::Result<String> {
    log.seek(SeekFrom::Start(begin))?;
    let mut text = Vec::new();
    log.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}
