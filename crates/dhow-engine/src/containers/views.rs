//! Who has a container's filesystem open from outside, so that it can be told to let go: what a start mounts must
//! not be mounted already, and what a removal takes away must not be held.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long those who are cut off may take: as long as one call to a file system does.
const CUT_OFF: Duration = Duration::from_secs(5);

/// The open views of one container.
#[derive(Default)]
pub struct Views {
    open: Mutex<Open>,
}

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
}

impl Views {
    pub fn enter(&self) -> Viewing {
        let open = self.lock();
        Viewing {
            cut_off: open.cut_off.clone(),
            _open: open.views.token(),
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
