//! A container's log, read back: Docker's `GET /containers/{id}/logs`. Reads what is there, also of
//! rotated files, and follows what comes, woken by inotify; nothing is polled.
//!
//! Records come in the order in which they were written. Following ends once the container's run has
//! ended and what it wrote has been sent.

mod files;
mod position;
mod record;
mod render;
mod watch;

use std::path::PathBuf;

use bytes::Bytes;
use dhow_runtime::LogFormat;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::{EngineError, Result};
use position::Position;
use render::Render;
pub use watch::Watcher;

/// Which part of a log is wanted, and how.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    pub follow: bool,
    pub timestamps: bool,
    /// The log's extra attributes before each line.
    pub details: bool,
    /// Whole lines from the end; `None` is all.
    pub tail: Option<u64>,
    /// Nanoseconds since the epoch, both bounds inclusive.
    pub since: Option<i64>,
    pub until: Option<i64>,
}

/// The bytes of a log. Without a terminal they are framed, with one they are raw.
#[derive(Debug)]
pub struct LogStream {
    pub tty: bool,
    receiver: mpsc::Receiver<std::io::Result<Bytes>>,
    _cancel: tokio_util::sync::DropGuard,
}

impl LogStream {
    /// The next piece; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        self.receiver.recv().await
    }

    pub fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Bytes>>> {
        self.receiver.poll_recv(cx)
    }
}

impl futures_util::Stream for LogStream {
    type Item = std::io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

/// How many pieces may wait for a slow client.
const PENDING: usize = 2;
/// How much is read from a file at a time, and becomes one piece.
const CHUNK: usize = 128 * 1024;

/// Begins reading the log at `path`, in this format. `ended` is done when the container's run is over and its output is
/// all written.
pub fn read<F>(
    watcher: &Watcher,
    (path, format): (PathBuf, LogFormat),
    options: LogOptions,
    tty: bool,
    ended: F,
) -> Result<LogStream>
where
    F: Future<Output = ()> + Send + 'static,
{
    // Watched before the first read, so that nothing is missed between the two.
    let watch = if options.follow {
        let watch = watcher.watch(&path);
        Some(watch.map_err(EngineError::io(path.display()))?)
    } else {
        None
    };
    let (sender, receiver) = mpsc::channel(PENDING);
    let cancel = CancellationToken::new();
    let cancelled = cancel.clone();
    let mut reader = Reader {
        path,
        format,
        position: None,
        render: Some(Render::new(format, options.clone(), tty)),
        options,
        sender,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = cancelled.cancelled() => {}
            result = reader.run(watch, ended) => if let Err(e) = result {
                // A client that has gone needs no error.
                let _ = reader.sender.send(Err(e)).await;
            }
        }
    });
    Ok(LogStream {
        tty,
        receiver,
        _cancel: cancel.drop_guard(),
    })
}

struct Reader {
    path: PathBuf,
    format: LogFormat,
    options: LogOptions,
    position: Option<Position>,
    /// Away with a thread that reads, when there is none.
    render: Option<Render>,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
}

impl Reader {
    async fn run<F>(&mut self, watch: Option<watch::Watch>, ended: F) -> std::io::Result<()>
    where
        F: Future<Output = ()>,
    {
        let (path, format) = (self.path.clone(), self.format);
        let LogOptions { tail, since, .. } = self.options;
        self.position = blocking(move || files::begin(&path, format, tail, since)).await?;
        let Some(watch) = watch else {
            return self.read_to_end().await;
        };
        tokio::pin!(ended);
        let until = self.options.until;
        let deadline = async move {
            match until {
                Some(nanos) => tokio::time::sleep(until_nanos(nanos)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        loop {
            self.read_to_end().await?;
            if self.is_done() {
                return Ok(());
            }
            tokio::select! {
                () = watch.changed() => {}
                () = self.sender.closed() => return Ok(()),
                () = &mut deadline => return self.read_to_end().await,
                () = &mut ended => return self.read_to_end().await,
            }
        }
    }

    /// Sends all there is now.
    async fn read_to_end(&mut self) -> std::io::Result<()> {
        loop {
            let mut position = match self.position.take() {
                Some(p) => p,
                None => {
                    let (path, format) = (self.path.clone(), self.format);
                    match blocking(move || files::begin(&path, format, None, None)).await? {
                        Some(p) => p,
                        None => return Ok(()),
                    }
                }
            };
            let Some(mut render) = self.render.take() else {
                return Ok(());
            };
            let path = self.path.clone();
            let read = blocking(move || {
                let mut chunk = position.read(CHUNK)?;
                let mut next = None;
                if chunk.is_empty() {
                    next = files::next(&path, position.id)?;
                    // What was written to this file before it was rotated is read before the next.
                    if next.is_some() {
                        chunk = position.read(CHUNK)?;
                    }
                }
                let at_end = chunk.is_empty();
                if at_end && next.is_some() {
                    render.file_ends();
                }
                let piece = render.feed(&chunk);
                let next = next.filter(|_| at_end);
                Ok((position, render, piece, at_end, next))
            });
            let (position, render, piece, at_end, next) = read.await?;
            self.render = Some(render);
            let goes_on = !at_end || next.is_some();
            self.position = Some(next.unwrap_or(position));
            let sent = piece.is_empty() || self.sender.send(Ok(piece)).await.is_ok();
            if !goes_on || !sent || self.is_done() || self.sender.is_closed() {
                return Ok(());
            }
        }
    }

    /// A record past the last that is wanted was seen.
    fn is_done(&self) -> bool {
        self.render.as_ref().is_none_or(Render::is_done)
    }
}

fn until_nanos(nanos: i64) -> std::time::Duration {
    let now = dhow_api::time::now();
    std::time::Duration::from_nanos(u64::try_from(nanos.saturating_sub(now)).unwrap_or(0))
}

async fn blocking<T, F>(work: F) -> std::io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> std::io::Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};
    use std::path::Path;

    fn line(text: &str, stream: &str, second: u32) -> String {
        format!(
            "{{\"log\":\"{text}\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:02}Z\"}}\n"
        )
    }

    fn both() -> LogOptions {
        LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        }
    }

    async fn collect(mut stream: LogStream) -> String {
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    async fn read_all(path: &Path, options: LogOptions) -> String {
        let watcher = Watcher::default();
        let log = (path.into(), LogFormat::JsonFile);
        collect(read(&watcher, log, options, true, std::future::pending()).unwrap()).await
    }

    #[tokio::test]
    async fn selects_by_stream_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let text = [
            line("a\\n", "stdout", 1),
            "garbage\n".into(),
            line("b\\n", "stderr", 2),
            line("c\\n", "stdout", 3),
        ];
        std::fs::write(&path, text.concat()).unwrap();
        assert_eq!(read_all(&path, both()).await, "a\nb\nc\n");
        let only = LogOptions {
            stderr: true,
            ..LogOptions::default()
        };
        assert_eq!(read_all(&path, only).await, "b\n");
        let second = |s: &str| -> i64 {
            let t: jiff::Timestamp = format!("2026-01-01T00:00:{s}Z").parse().unwrap();
            t.as_nanosecond() as i64
        };
        let since = LogOptions {
            since: Some(second("02")),
            ..both()
        };
        assert_eq!(read_all(&path, since).await, "b\nc\n");
        let until = LogOptions {
            until: Some(second("02")),
            ..both()
        };
        assert_eq!(read_all(&path, until).await, "a\nb\n");
        let stamped = LogOptions {
            timestamps: true,
            tail: Some(1),
            ..both()
        };
        assert_eq!(
            read_all(&path, stamped).await,
            "2026-01-01T00:00:03.000000000Z c\n"
        );
    }

    #[tokio::test]
    async fn a_line_in_parts_has_one_timestamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        std::fs::write(&path, line("a", "stdout", 1) + &line("b\\n", "stdout", 1)).unwrap();
        let stamped = LogOptions {
            timestamps: true,
            ..both()
        };
        assert_eq!(
            read_all(&path, stamped).await,
            "2026-01-01T00:00:01.000000000Z ab\n"
        );
    }

    #[tokio::test]
    async fn follows_over_rotation_and_truncation_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let options = LogOptions {
            follow: true,
            ..both()
        };
        let mut stream = read(
            &Watcher::default(),
            (path.clone(), LogFormat::JsonFile),
            options,
            true,
            async {
                let _ = ended.await;
            },
        )
        .unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(line("a\\n", "stdout", 1).as_bytes())
            .unwrap();
        assert_eq!(&stream.next().await.unwrap().unwrap()[..], b"a\n");
        file.write_all(line("b\\n", "stdout", 1).as_bytes())
            .unwrap();
        std::fs::rename(&path, dir.path().join("l.1")).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(line("c\\n", "stdout", 1).as_bytes())
            .unwrap();
        assert_eq!(&stream.next().await.unwrap().unwrap()[..], b"b\n");
        assert_eq!(&stream.next().await.unwrap().unwrap()[..], b"c\n");
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(line("d\\n", "stderr", 1).as_bytes())
            .unwrap();
        end.send(()).unwrap();
        let last = collect(stream).await;
        // A truncation that is filled up again at once can't be told from none.
        assert!(last == "d\n" || last.is_empty(), "{last}");
    }

    #[tokio::test]
    async fn a_follower_that_goes_away_ends_its_task() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        std::fs::write(&path, line("a\\n", "stdout", 1)).unwrap();
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let options = LogOptions {
            follow: true,
            ..both()
        };
        let log = (path, LogFormat::JsonFile);
        let stream = read(&Watcher::default(), log, options, true, async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        })
        .unwrap();
        drop(stream);
        assert!(gone.recv().await.is_none());
    }
}
