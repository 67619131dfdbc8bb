//! An archive of what is at a path in a container.

use std::io;
use std::path::Path;

use bytes::Bytes;
use dhow_api::PathStat;
use dhow_archive::{ArchiveError, Chunks, pack, words};
use futures_util::{Stream, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Desk, Files, Part, missing, stat};
use crate::error::{EngineError, Result};

/// Pieces between the thread that reads and the client.
const PIECES: usize = 4;

/// An archive on its way.
pub struct Archive {
    /// What it is of.
    pub stat: PathStat,
    pieces: mpsc::Receiver<io::Result<Part>>,
    cut_off: CancellationToken,
    refused: EngineError,
}

impl Archive {
    /// The archive, which breaks where it fails.
    pub fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |archive| async {
            let mut archive = archive?;
            let part = tokio::select! {
                biased;
                () = archive.cut_off.cancelled() => None,
                part = archive.pieces.recv() => part,
            };
            match part {
                Some(Ok(Part::Data(piece))) => Some((Ok(piece), Some(archive))),
                Some(Ok(Part::End)) => None,
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(io::Error::other(archive.refused)), None)),
            }
        })
    }
}

impl Files {
    /// An archive of a file, or of a directory with all that is in it.
    pub async fn archive(&self, name: &str, path: &str) -> Result<Archive> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let wanted = words::in_container(path);
        let work = move |desk: Desk, answer: oneshot::Sender<Result<PathStat>>| {
            let stat = match stat::of(&desk.root, &wanted) {
                Ok(stat) => stat,
                Err(e) => return drop(answer.send(Err(e))),
            };
            let name = match words::base(&wanted) {
                // What is in there has the whole path for its name.
                "/" => "",
                name => name,
            };
            if answer.send(Ok(stat)).is_err() {
                return;
            }
            let send = |part| match desk.wait(sender.send(part)) {
                Some(Ok(())) => Ok(()),
                // Cut off, or the client is gone.
                _ => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            };
            let to = Chunks::new(|piece| send(Ok(Part::Data(piece))));
            let packed = pack(&desk.root, Path::new(&wanted), name.as_bytes(), to);
            let last = match packed {
                Ok(()) => Ok(Part::End),
                Err(ArchiveError::Write(_)) => return,
                Err(error) => {
                    let container = &desk.container.id;
                    tracing::warn!(%container, %error, "an archive of its files breaks off");
                    Err(io::Error::other(error))
                }
            };
            // A client that is gone does not mind.
            let _ = send(last);
        };
        let (stat, opened) = self
            .at_desk(name, work)
            .await
            .map_err(missing(name, path))?;
        self.containers.tell(&opened.container, "archive-path", &[]);
        Ok(Archive {
            stat,
            pieces,
            refused: opened.refused(),
            cut_off: opened.cut_off,
        })
    }
}
