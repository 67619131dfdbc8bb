//! How a container's end is known: by its shim, by the record that it wrote, or by there being no process any
//! more. A connection that breaks is none of these.
//!
//! A container is *connected*, *unreachable* or *ended*. While its shim can't be reached it is what it was;
//! only when nobody listens at the shim's socket is it looked for what became of the process. Invariant: when
//! an end is told, nothing runs in the container's cgroup, so that no second process ever starts beside the
//! first.

use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::client::{Reach, reach};
use dhow_runtime::protocol::ExitRecord;
use dhow_runtime::{Shim, read_exit_record};

use super::Supervisor;
use crate::containers::container::Container;

/// The pauses between two looks for a shim that can't be reached: each is twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The exit code of a process whose shim was killed (128 + SIGKILL), and of one that ended with its host.
const KILLED: i32 = 137;
const LOST: i32 = 255;

/// An end, and the shim that told of it.
pub(super) struct End {
    pub record: ExitRecord,
    pub shim: Option<Shim>,
}

impl Supervisor {
    /// Waits for the end. `None` is the engine's.
    pub(super) async fn end_of(
        &self,
        container: &Arc<Container>,
        mut shim: Option<Shim>,
    ) -> Option<End> {
        loop {
            if let Some(shim) = shim.take() {
                let told = tokio::select! {
                    () = self.background.closing() => return None,
                    told = self.told_by(container, &shim) => told,
                };
                if let Some(record) = told {
                    return Some(End {
                        record,
                        shim: Some(shim),
                    });
                }
                tracing::warn!(container = %container.id, "the connection to its shim broke");
            }
            tokio::select! {
                () = self.background.closing() => return None,
                found = self.look_for(container) => match found {
                    Some(found) => shim = Some(found),
                    None => break,
                },
            }
        }
        let record = tokio::select! {
            () = self.background.closing() => return None,
            record = self.make_certain(container) => record,
        };
        Some(End { record, shim: None })
    }

    /// The end that a shim tells of, if its connection does not break before. On the way there, its container
    /// may run out of memory.
    async fn told_by(&self, container: &Arc<Container>, shim: &Shim) -> Option<ExitRecord> {
        let (mut exit, mut ooms) = (shim.exit(), shim.ooms());
        let mut away = shim.servers_away();
        ooms.mark_changed();
        let mut before = 0;
        loop {
            tokio::select! {
                // In the order in which they come.
                biased;
                Ok(()) = ooms.changed() => {
                    let times = *ooms.borrow_and_update();
                    if std::mem::replace(&mut before, times) < times {
                        container.view().oom_told = true;
                        self.containers.tell(container, "oom", &[]);
                    }
                }
                Ok(()) = away.changed() => {
                    let (containers, container, shim) =
                        (self.containers.clone(), container.clone(), shim.clone());
                    self.background.spawn(async move {
                        containers.look_up_log_server(&container, &shim).await;
                    });
                }
                record = exit.wait_for(Option::is_some) => {
                    return record.ok().and_then(|r| r.clone());
                }
            }
        }
    }

    /// Reconnects, as long as it takes. `None` when there is no shim any more.
    async fn look_for(&self, container: &Arc<Container>) -> Option<Shim> {
        let mut pause = FIRST_PAUSE;
        let mut said = false;
        loop {
            let exec_root = &self.containers.settings().exec_root;
            match reach(exec_root, container.id.as_str()).await {
                Ok(Reach::Connected(shim, started)) => {
                    tracing::info!(container = %container.id, "its shim was reached again");
                    self.containers.resume(container, &shim, &started).await;
                    self.containers.resume_held(container, &shim).await;
                    return Some(shim);
                }
                Ok(Reach::Gone) => return None,
                Ok(Reach::Starting) => {}
                Err(e) if !said => {
                    tracing::warn!(container = %container.id, error = %e, "its shim can't be reached");
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The end of a container whose shim is gone. What it has left running is ended first.
    async fn make_certain(&self, container: &Arc<Container>) -> ExitRecord {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.containers.clear(container).await {
                // Its shim was there a moment ago.
                Ok(_) => return record_or(container, true),
                Err(e) => {
                    tracing::error!(container = %container.id, error = %e, "what its shim has left running can't be ended");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What the shim wrote down of the end. Without a word of it, a shim that was `there` was killed, which is how
/// Docker shows its container as well; one that was not ended with its host.
pub fn record_or(container: &Container, there: bool) -> ExitRecord {
    match read_exit_record(&container.dir) {
        Ok(Some(record)) => return record,
        Ok(None) => {}
        Err(e) => {
            tracing::error!(container = %container.id, error = %e, "its exit record can't be read");
        }
    }
    ExitRecord {
        code: if there { KILLED } else { LOST },
        oom_killed: false,
        started_at: container.state().run().map_or(0, |r| r.started_at),
        finished_at: dhow_api::time::now(),
    }
}
