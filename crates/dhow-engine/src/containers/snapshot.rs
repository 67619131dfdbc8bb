//! What leaves a container: the list of its changes, and its root as an archive.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dhow_archive::Chunks;
use dhow_image::{Change, Pin, Snapshot};
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use super::Containers;
use super::container::Container;
use super::state::State;
use crate::background::blocking;
use crate::error::{EngineError, Result};

/// How many chunks the archive may be ahead of its reader.
const AHEAD: usize = 2;

/// A container's root, and the hold on the layers that are in it.
pub struct Held {
    pub snapshot: Snapshot,
    pub pin: Option<Pin>,
}

impl Containers {
    /// The container's root as it is from now on, whatever becomes of its image. `what` can't be done to one that
    /// is on its way out.
    pub fn snapshot(&self, container: &Container, what: &str) -> Result<Held> {
        stays(container, what)?;
        let top = container.definition().layers.clone();
        let top = top.and_then(|chain| chain.parse().ok());
        let pin = top.map(|top| self.inner.images.pin_chain(&top));
        let pin = pin.transpose()?;
        let lower = self.lower_dirs(container);
        let snapshot = Snapshot {
            upper: container.upper_dir(),
            lower,
        };
        Ok(Held { snapshot, pin })
    }

    /// What it has changed of its image, sorted by path.
    pub async fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let container = self.find(name)?;
        let held = self.snapshot(&container, "diff")?;
        Ok(blocking(move || held.snapshot.changes()).await??)
    }

    /// Its root as an archive, without what is mounted in it. What fails before anything was written fails here;
    /// later an error ends the stream.
    pub async fn export(
        &self,
        name: &str,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
        let container = self.find(name)?;
        let held = self.snapshot(&container, "export")?;
        let (sender, mut pieces) = mpsc::channel(AHEAD);
        let containers = self.clone();
        // It lasts as long as its reader likes, which the threads for short work should not.
        std::thread::Builder::new()
            .name("export".into())
            .spawn(move || {
                let last = containers.write_root(&container, &held, &sender);
                // A reader that is gone does not mind.
                let _ = sender.blocking_send(last);
            })
            .map_err(EngineError::io("starting a thread for an export"))?;
        let what = format!("Error exporting container {name}");
        let failed = move |e| EngineError::cannot(&what)(e);
        let first = match next(&mut pieces).await {
            Err(e) => return Err(failed(e)),
            first => first,
        };
        let ended = matches!(first, Ok(None));
        let rest = stream::unfold((pieces, ended), |(mut pieces, ended)| async move {
            if ended {
                return None;
            }
            let piece = next(&mut pieces).await;
            let ended = !matches!(piece, Ok(Some(_)));
            Some((piece.transpose()?, (pieces, ended)))
        });
        let first = stream::iter(first.transpose());
        Ok(futures_util::StreamExt::chain(first, rest))
    }

    fn write_root(
        &self,
        container: &Arc<Container>,
        held: &Held,
        sender: &mpsc::Sender<Piece>,
    ) -> Piece {
        let to = Chunks::new(|piece| {
            sender
                .blocking_send(Ok(Some(piece)))
                .map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        held.snapshot.write_root(to)?;
        // What went with it meanwhile was left out.
        stays(container, "export")?;
        self.tell(container, "export", &[]);
        Ok(None)
    }
}

/// Refuses a container that is on its way out: what is read of it may not be all.
pub fn stays(container: &Container, what: &str) -> Result<()> {
    let reason = match container.state() {
        State::Dead(_) => "Dead",
        State::Removing(_) => "being removed",
        _ => return Ok(()),
    };
    Err(EngineError::Refused(format!(
        "You cannot {what} container {} which is {reason}",
        container.id
    )))
}

/// A part of an archive; `None` is its end. An archive that just stops is not whole.
type Piece = Result<Option<Bytes>>;

async fn next(pieces: &mut mpsc::Receiver<Piece>) -> Piece {
    let cut_off = || EngineError::Internal("the archive's writer is gone".into());
    pieces.recv().await.unwrap_or_else(|| Err(cut_off()))
}
