//! Who has a container's filesystem open from outside, so that it can be told to let go: what a start mounts must
//! not be mounted already, and what a removal takes away must not be held.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::volumes::Held;

/// How long those who are cut off may take: as long as one call to a file system does.
const CUT_OFF: Duration = Duration::from_secs(5);

/// The open views of one container.
#[derive(Default)]
pub struct Views {
    open: Mutex<Open>,
    at_rest: Arc<tokio::sync::Mutex<()>>,
}

/// The right to mount a container that does not run: overlayfs does not have two mounts of one upper directory.
pub type Turn = OwnedMutexGuard<()>;

#[derive(Default)]
struct Open {
    views: TaskTracker,
    cut_off: CancellationToken,
}

/// Held as long as a view is open.
pub struct Viewing {
    /// Cancelled when it has to end, whatever it is at.
    pub cut_off: CancellationToken,
    _open: TaskTrackerToken,
    _turn: Option<Turn>,
    _mounted: Option<Held>,
}

impl Viewing {
    /// What is viewed is to stay mounted as long.
    pub fn keep_mounted(&mut self, held: Option<Held>) {
        self._mounted = held;
    }
}

impl Views {
    /// Waits until nobody else has the container mounted. Not to be waited for by who holds its operation lock.
    pub async fn turn(&self) -> Turn {
        self.at_rest.clone().lock_owned().await
    }

    /// The turn is given for a container that does not run.
    pub fn enter(&self, turn: Option<Turn>) -> Viewing {
        let open = self.lock();
        Viewing {
            cut_off: open.cut_off.clone(),
            _open: open.views.token(),
            _turn: turn,
            _mounted: None,
        }
    }

    /// Waits so long for the open views to end, then cuts them off.
    pub async fn end(&self, patience: Duration) {
        let open = {
            let mut open = self.lock();
            if open.views.is_empty() {
                return;
            }
            std::mem::take(&mut *open)
        };
        open.views.close();
        if tokio::time::timeout(patience, open.views.wait())
            .await
            .is_ok()
        {
            return;
        }
        open.cut_off.cancel();
        if tokio::time::timeout(CUT_OFF, open.views.wait())
            .await
            .is_err()
        {
            tracing::warn!("somebody who copies files of a container does not let go of them");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|e| e.into_inner())
    }
}
