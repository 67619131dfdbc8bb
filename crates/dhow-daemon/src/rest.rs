//! A daemon that nobody asks anything gives its memory back, a while after the last request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dhow_runtime::memory;
use tokio::sync::Notify;

/// How long nothing must have been asked. What is used again costs page faults, some tenths of a millisecond in all: a
/// script that runs one container after another never pays them.
const QUIET: Duration = Duration::from_secs(2);

/// Counts requests. A handle; clones are the same.
#[derive(Clone, Default)]
pub struct Activity {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    requests: AtomicU64,
    more: Notify,
}

impl Activity {
    /// A request, or the end of one.
    pub fn happened(&self) {
        self.inner.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.more.notify_one();
    }

    fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// Watches for ever: it wakes once a while when there are requests, and not at all when there are none.
    pub async fn rest_when_quiet(self) {
        loop {
            let at_rest = loop {
                let before = self.requests();
                tokio::time::sleep(QUIET).await;
                if self.requests() == before {
                    break before;
                }
            };
            // On a worker: it takes a millisecond or two, and nobody is waiting.
            memory::trim();
            memory::release_program();
            while self.requests() == at_rest {
                self.inner.more.notified().await;
            }
        }
    }
}
