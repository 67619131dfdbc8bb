//! The user's streams joined to a process's: attach, run, start -a, exec.

use std::sync::Arc;

use bytes::Bytes;
use dhow_client::{AttachOptions, Client, FrameReader, HijackWriter, Hijacked, StreamKind};
use tokio::sync::mpsc;

use super::detach::Detector;
use crate::error::{Error, Result, message, plain};
use crate::signals::Task;
use crate::terminal::{self, RawMode};
use crate::{signals, stdio};

/// What is joined.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
    pub detach_keys: Option<String>,
    /// Whether signals that end this process are caught elsewhere.
    pub signals_caught: bool,
}

impl Streams {
    /// What the daemon is asked for.
    pub fn options(&self) -> AttachOptions {
        AttachOptions {
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
            logs: false,
            detach_keys: self.detach_keys.clone(),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process's output has ended, or it has none to show.
    Finished,
    /// The user typed the detach keys.
    Detached,
}

/// Refuses a terminal where the user has none.
pub fn check_tty(stdin: bool, tty: bool) -> Result<()> {
    if stdin && tty && !terminal::stdin_is_terminal() {
        return Err(plain("the input device is not a TTY"));
    }
    Ok(())
}

/// Has the terminal of a container's process follow the user's in size.
pub fn follow_size(client: &Arc<Client>, id: &str) -> Result<Task> {
    let (client, id) = (client.clone(), id.to_owned());
    Ok(signals::watch_size(move |rows, columns| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            // The process may have ended.
            let _ = client.container_resize(&id, rows, columns).await;
        }
    })?)
}

/// Carries bytes both ways until the output ends or the user detaches.
pub async fn carry(hijacked: Hijacked, streams: &Streams) -> Result<End> {
    let raw = !hijacked.multiplexed().unwrap_or(!streams.tty);
    let Hijacked { reader, writer, .. } = hijacked;
    let wants_raw = streams.stdin && streams.tty && terminal::stdin_is_terminal();
    let _deaths = match wants_raw && !streams.signals_caught {
        true => signals::restore_terminal_on_death()?,
        false => Vec::new(),
    };
    let _raw = match wants_raw {
        true => Some(RawMode::enter()?),
        false => None,
    };
    let output = show(FrameReader::new(reader, raw));
    if !streams.stdin {
        let end = output.await;
        drop(writer);
        return end.map(|()| End::Finished);
    }
    let detector = wants_raw.then(|| Detector::new(streams.detach_keys.as_deref()));
    let shows = streams.stdout || streams.stderr;
    let mut input = std::pin::pin!(feed(writer, detector, stdio::input()));
    let mut output = std::pin::pin!(output);
    tokio::select! {
        biased;
        done = &mut output => done.map(|()| End::Finished),
        fed = &mut input => match fed {
            Fed::Detached => Ok(End::Detached),
            // The writer lives on in here: closing it whole would cut the output off.
            Fed::Ended(_writer) if shows => output.await.map(|()| End::Finished),
            Fed::Ended(_) => Ok(End::Finished),
        },
    }
}

/// Shows output until its end.
pub async fn show<R>(mut frames: FrameReader<R>) -> Result<()>
where
    R: tokio::io::AsyncRead + Unpin,
{
    while let Some(frame) = frames.next().await? {
        match frame.stream {
            StreamKind::System => {
                let text = String::from_utf8_lossy(&frame.bytes).into_owned();
                return Err(message(format!("error from daemon in stream: {text}")));
            }
            stream => stdio::output(stream, frame.bytes).await?,
        }
    }
    Ok(())
}

enum Fed {
    Ended(HijackWriter),
    Detached,
}

/// Sends input until its end, of which the process is told.
async fn feed(
    mut writer: HijackWriter,
    mut detector: Option<Detector>,
    mut input: mpsc::Receiver<Bytes>,
) -> Fed {
    while let Some(bytes) = input.recv().await {
        let sent = match &mut detector {
            None => writer.write(&bytes).await,
            Some(detector) => {
                let (rest, detached) = detector.filter(&bytes);
                let sent = match rest.is_empty() {
                    true => Ok(()),
                    false => writer.write(&rest).await,
                };
                if detached {
                    return Fed::Detached;
                }
                sent
            }
        };
        if sent.is_err() {
            // The process takes no more: what it still says matters.
            return Fed::Ended(writer);
        }
    }
    // The process may have ended meanwhile.
    let _ = writer.close().await;
    Fed::Ended(writer)
}

/// The status of a process as this program's own.
pub fn exit_with(status: i64) -> Result<()> {
    match status {
        0 => Ok(()),
        // What does not fit a status is at least not success.
        status => Err(Error::Exit(u8::try_from(status & 0xff).unwrap_or(1).max(1))),
    }
}
