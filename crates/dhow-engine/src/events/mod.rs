//! What happened, told to whoever listens: Docker's `GET /events`.
//!
//! Publishing never waits, neither for a listener nor for the disk. The last events are in memory, all within a budget
//! in the [journal]; each has a number, by which a listener goes from one to the other. A listener reads at its own
//! pace. One that falls behind further than the journal reaches is told how many it missed, by an event.

mod filter;
mod journal;
mod subscription;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use dhow_api::{Actor, Event};
use tokio::sync::watch;

pub use filter::EventFilter;
use journal::Journal;
pub use subscription::EventSubscription;

/// How many events are in memory: as many as Docker has.
pub const IN_MEMORY: usize = 256;
/// How many there may be where the disk does not keep up, or there is no journal.
const WAITING: usize = 2048;
/// How many are written at once.
const BATCH: usize = 128;
/// By how much a clock may go back and forth without the order of times being given up for it.
const JITTER: i64 = 1_000_000_000;

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The number of the first event that is in memory.
    first: u64,
    /// The number of the first that the journal has not been given, and of the first that it has not written. What it
    /// can't write counts as written: nothing is to wait for it.
    taken: u64,
    written: u64,
    /// Whether a writer is at work, or about to be.
    writing: bool,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn trim(&mut self, journal: bool) {
        while self.events.len() > WAITING
            || journal && self.events.len() > IN_MEMORY && self.first < self.written
        {
            self.events.pop_front();
            self.first += 1;
        }
        self.taken = self.taken.max(self.first);
    }
}

/// The daemon, as the subject of an event.
#[derive(Debug)]
struct Daemon {
    id: String,
    name: String,
}

#[derive(Clone, Debug)]
pub struct EventBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// The number of the next event.
    next: watch::Sender<u64>,
    journal: Option<Journal>,
    /// The number that this daemon began with.
    begun: u64,
    daemon: OnceLock<Daemon>,
}

impl Default for EventBus {
    /// Events in memory only.
    fn default() -> Self {
        EventBus::new(None, 0)
    }
}

impl EventBus {
    fn new(journal: Option<Journal>, next: u64) -> EventBus {
        EventBus {
            shared: Arc::new(Shared {
                ring: Mutex::new(Ring {
                    events: VecDeque::new(),
                    first: next,
                    taken: next,
                    written: next,
                    writing: false,
                }),
                next: watch::Sender::new(next),
                journal,
                begun: next,
                daemon: OnceLock::new(),
            }),
        }
    }

    /// Events that are kept in a directory, after those that an earlier daemon kept there. Reads a little from disk.
    pub fn open(dir: PathBuf) -> EventBus {
        match Journal::open(dir) {
            Ok((journal, next)) => EventBus::new(Some(journal), next),
            Err(e) => {
                tracing::warn!(error = %e, "the journal of events can't be opened; they are kept in memory");
                EventBus::default()
            }
        }
    }

    /// Says who the daemon is that publishes.
    pub fn set_daemon(&self, id: &str, name: &str) {
        // Whoever was first stays.
        let _ = self.shared.daemon.set(Daemon {
            id: id.to_owned(),
            name: name.to_owned(),
        });
    }

    pub fn publish(&self, kind: &str, action: impl Into<String>, actor: Actor) {
        let mut ring = self.shared.ring();
        let now = dhow_api::time::now();
        let time_nano = match ring.events.back() {
            // A listener's `since` relies on order; a clock that was set relies on nothing.
            Some(last) if last.time_nano - now < JITTER => now.max(last.time_nano),
            _ => now,
        };
        let event = Event {
            kind: kind.to_owned(),
            action: action.into(),
            actor,
            scope: "local".to_owned(),
            time: time_nano / 1_000_000_000,
            time_nano,
        };
        ring.events.push_back(Arc::new(event));
        ring.trim(self.shared.journal.is_some());
        let next = ring.end();
        let write = self.shared.journal.is_some() && !ring.writing;
        ring.writing |= write;
        drop(ring);
        self.shared.next.send_if_modified(|n| {
            let newer = next > *n;
            *n = next.max(*n);
            newer
        });
        if write {
            let shared = self.shared.clone();
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || shared.write())),
                Err(_) => shared.write(),
            }
        }
    }

    /// Publishes an event about the daemon itself.
    pub fn publish_of_daemon(&self, action: &str, attributes: &[(&str, String)]) {
        let actor = self.shared.daemon(attributes);
        self.publish("daemon", action, actor);
    }

    /// Gives the journal all that there is. Blocks.
    pub fn flush(&self) {
        self.shared.write();
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.shared.next.receiver_count()
    }

    /// How many this daemon has published.
    pub fn published(&self) -> u64 {
        self.shared.ring().end() - self.shared.begun
    }

    /// Events from now on, after those kept that are not older than `since` (nanoseconds since the epoch); it ends at
    /// the first that is newer than `until`. As in Docker, who says only how long gets what is in memory, too. A
    /// listener that also wants to stop at that time keeps the clock itself.
    pub fn subscribe(
        &self,
        since: Option<i64>,
        until: Option<i64>,
        filter: EventFilter,
    ) -> EventSubscription {
        // Before the ring is held: publishing waits for the ring.
        let on_disk = self.shared.journal.as_ref().and_then(Journal::first);
        let ring = self.shared.ring();
        let at = match (since, until) {
            (None, None) => ring.end(),
            (None, Some(_)) => ring.first,
            (Some(since), _) if ring.events.front().is_some_and(|e| e.time_nano < since) => {
                let skip = ring.events.partition_point(|e| e.time_nano < since);
                ring.first + skip as u64
            }
            (Some(_), _) => on_disk.map_or(ring.first, |first| first.min(ring.first)),
        };
        drop(ring);
        EventSubscription::new(
            self.shared.clone(),
            at,
            since.unwrap_or(i64::MIN),
            until,
            filter,
        )
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Gives the journal what it does not have. Blocks.
    fn write(&self) {
        let Some(journal) = &self.journal else {
            return;
        };
        journal.write(|| {
            let mut ring = self.ring();
            ring.written = ring.taken;
            ring.trim(true);
            let skip = usize::try_from(ring.taken - ring.first).unwrap_or(usize::MAX);
            let batch: Vec<_> = (ring.taken..)
                .zip(ring.events.iter().skip(skip).take(BATCH).cloned())
                .collect();
            ring.taken += batch.len() as u64;
            ring.writing = !batch.is_empty();
            batch
        });
    }

    fn daemon(&self, attributes: &[(&str, String)]) -> Actor {
        let mut actor = Actor::default();
        for (key, value) in attributes {
            actor.attributes.insert((*key).to_owned(), value.clone());
        }
        if let Some(daemon) = self.daemon.get() {
            actor.id = daemon.id.clone();
            actor.attributes.insert("name".into(), daemon.name.clone());
        }
        actor
    }

    /// The event in place of those that a listener missed.
    fn lost(&self, count: u64, time_nano: i64) -> Arc<Event> {
        tracing::warn!(missed = count, "a listener to events missed some");
        Arc::new(Event {
            kind: "daemon".to_owned(),
            action: "lost".to_owned(),
            actor: self.daemon(&[("count", count.to_string())]),
            scope: "local".to_owned(),
            time: time_nano / 1_000_000_000,
            time_nano,
        })
    }
}

#[cfg(test)]
mod tests;
