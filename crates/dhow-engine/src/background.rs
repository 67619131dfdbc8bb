//! Work that goes on beside the requests, and its end with the engine.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{EngineError, Result};

/// The engine's own tasks. A handle; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Background {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Background {
    /// Runs beside the requests. The engine's end waits for it, so it must end by itself or heed
    /// [`Background::closing`].
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(work)
    }

    /// Done when the engine begins to end.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Has all tasks end, and waits for that.
    pub async fn end(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Does what may block on a thread where that harms nobody.
pub async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| EngineError::Internal(e.to_string()))
}
