//! Telling the daemons of a container that has run out of memory, when it happens.

use super::Shim;
use super::poller::Source;
use crate::cgroup::OomWatch;
use crate::protocol::Event;

/// The watch, and its name in the poller.
pub(super) struct Memory {
    watch: OomWatch,
    token: u64,
}

impl Shim {
    /// Once the container runs: it need not wait for this, and what happens before is seen here.
    pub(super) fn watch_memory(&mut self) {
        let Some(cgroup) = &self.cgroup else { return };
        // Without it, a container that ends so still says so at its end.
        let Ok(Some(watch)) = OomWatch::new(cgroup) else {
            return;
        };
        let token = self.poller.name(Source::Memory);
        if self.poller.add(&watch, token, watch.interest()).is_err() {
            return self.poller.forget(token);
        }
        self.memory = Some(Memory { watch, token });
        self.memory_ready();
    }

    /// The kernel may have something to tell.
    pub(super) fn memory_ready(&mut self) {
        let (Some(memory), Some(cgroup)) = (&mut self.memory, &self.cgroup) else {
            return;
        };
        match memory.watch.take(cgroup) {
            Ok(false) => {}
            Ok(true) => {
                let tokens: Vec<u64> = self.connections.keys().copied().collect();
                for token in tokens {
                    self.use_connection(token, |connection| connection.send(&Event::OutOfMemory));
                }
            }
            Err(_) => self.forget_memory(),
        }
    }

    /// To be done before the group goes.
    pub(super) fn forget_memory(&mut self) {
        if let Some(memory) = self.memory.take() {
            // What is waited for can't be missing.
            let _ = self.poller.remove(&memory.watch);
            self.poller.forget(memory.token);
        }
    }
}
