//! Files into and out of containers: what a path is, an archive of it, and an archive put there.
//!
//! The work is done on a thread of its own with a view of the container's filesystem, and nobody waits behind it.
//! Between that thread and the client's stream there is a short queue, so that neither a large file nor a slow
//! client takes memory. A container that is started or removed meanwhile cuts the work off: the stream then breaks,
//! and does not end as if all of it had come.

mod archive;
mod extract;
mod stat;

pub use archive::Archive;
pub use extract::{ExtractOptions, Part};

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use dhow_api::PathStat;
use dhow_archive::Root;
use dhow_runtime::view::ViewError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::containers::Containers;
use crate::containers::container::Container;
use crate::containers::view::Viewed;
use crate::error::{EngineError, Result};

/// How often a container may end between the look at it and the opening of its view.
const ATTEMPTS: u32 = 5;

/// A handle; clones are the same.
#[derive(Clone)]
pub struct Files {
    containers: Containers,
}

/// What the work is given.
struct Desk {
    root: Root,
    /// Cancelled when the work has to end.
    cut_off: CancellationToken,
    runtime: Handle,
    container: Arc<Container>,
    running: bool,
}

impl Desk {
    /// Waits, on the view's thread, for what the other end of a queue does; `None` when the work is cut off.
    fn wait<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cut_off.cancelled() => None,
                done = what => Some(done),
            }
        })
    }
}

impl Files {
    pub fn new(containers: Containers) -> Files {
        Files { containers }
    }

    /// What is at a path; a link is told as itself, with where it leads.
    pub async fn stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let wanted = path.to_owned();
        let work = move |desk: Desk, answer: oneshot::Sender<Result<PathStat>>| {
            // Nobody waits any more if the client is gone.
            let _ = answer.send(stat::of(&desk.root, &wanted));
        };
        self.at_desk(name, work)
            .await
            .map(|(stat, _)| stat)
            .map_err(missing(name, path))
    }

    /// Opens a container's filesystem and has the work done there, which answers before it is done or when it is.
    /// The answer comes with the container and with what cuts the work off.
    async fn at_desk<T, W>(&self, name: &str, work: W) -> Result<(T, Opened)>
    where
        T: Send + 'static,
        W: FnOnce(Desk, oneshot::Sender<Result<T>>) + Send + 'static,
    {
        let mut work = work;
        for _ in 0..ATTEMPTS {
            let viewed = self.containers.view(name).await?;
            let opened = Opened {
                container: viewed.container.clone(),
                cut_off: viewed.viewing.cut_off.clone(),
            };
            let (sender, answer) = oneshot::channel();
            let done = spawn(viewed, work, sender).map_err(EngineError::io("starting a thread"))?;
            let answered = tokio::select! {
                answered = answer => answered,
                () = opened.cut_off.cancelled() => return Err(opened.refused()),
            };
            match answered {
                Ok(answer) => return Ok((answer?, opened)),
                // It had ended, and the work has not begun.
                Err(_) => match done.await {
                    Ok(unbegun) => work = unbegun,
                    Err(_) => {
                        return Err(EngineError::Internal(format!(
                            "the copying of files of container {} failed",
                            opened.container.id
                        )));
                    }
                },
            }
        }
        Err(EngineError::Refused(format!(
            "container {name} ends again and again: try again"
        )))
    }
}

/// A filesystem that the work is at.
struct Opened {
    container: Arc<Container>,
    cut_off: CancellationToken,
}

impl Opened {
    /// What a client is told whose work was cut off.
    fn refused(&self) -> EngineError {
        EngineError::Refused(format!(
            "container {} was started or removed while its files were copied",
            self.container.id
        ))
    }
}

/// Starts the work. It comes back if the container has ended before it could begin.
fn spawn<T, W>(
    viewed: Viewed,
    work: W,
    answer: oneshot::Sender<Result<T>>,
) -> std::io::Result<oneshot::Receiver<W>>
where
    T: Send + 'static,
    W: FnOnce(Desk, oneshot::Sender<Result<T>>) + Send + 'static,
{
    let runtime = Handle::current();
    let Viewed {
        container,
        view,
        viewing,
        running,
    } = viewed;
    let cut_off = viewing.cut_off.clone();
    let (back, unbegun) = oneshot::channel();
    let at_work = move |root: std::result::Result<OwnedFd, ViewError>| {
        let desk = |root| Desk {
            root,
            cut_off,
            runtime,
            container: container.clone(),
            running,
        };
        let failed = |why: String| {
            EngineError::Internal(format!(
                "cannot look into the filesystem of container {}: {why}",
                container.id
            ))
        };
        match root.map(Root::new) {
            Ok(Ok(root)) => work(desk(root), answer),
            Ok(Err(e)) => drop(answer.send(Err(failed(e.to_string())))),
            Err(ViewError::Failed(e)) => drop(answer.send(Err(failed(e.to_string())))),
            Err(ViewError::Ended) => drop(back.send(work)),
        }
    };
    view.open(at_work, move || drop(viewing))?;
    Ok(unbegun)
}

/// Says which file is not there, as Docker does, of an error that it is not.
fn missing(name: &str, path: &str) -> impl FnOnce(EngineError) -> EngineError {
    let no_such_file = EngineError::NoSuchFile {
        path: path.to_owned(),
        container: name.to_owned(),
    };
    move |error| match &error {
        EngineError::Archive(e) if e.code() == Some(rustix::io::Errno::NOENT.raw_os_error()) => {
            no_such_file
        }
        _ => error,
    }
}
