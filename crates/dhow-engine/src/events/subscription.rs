//! A listener's way through the events: those on disk, those in memory, then those to come.

use std::collections::VecDeque;
use std::sync::Arc;

use dhow_api::Event;
use tokio::sync::watch;

use super::journal::{Item, Place, Wanted};
use super::{EventFilter, Shared};
use crate::background::blocking;

/// A listener's place among the events: those of the past first, then each as it is told. One that falls behind is told
/// how many it missed.
#[derive(Debug)]
pub struct EventSubscription {
    shared: Arc<Shared>,
    wake: watch::Receiver<u64>,
    /// The number of the next event.
    at: u64,
    /// Where in the journal that is, when it was read last.
    place: Option<Place>,
    /// What was read from there.
    read: VecDeque<Item>,
    since: i64,
    until: Option<i64>,
    filter: EventFilter,
    past: bool,
}

/// What a look into memory says.
enum Look {
    Event(Arc<Event>),
    /// Nothing yet.
    Wait,
    /// What comes next is no longer there: the number of the first that is, and when that was.
    Gone(u64, i64),
}

impl EventSubscription {
    pub(super) fn new(
        shared: Arc<Shared>,
        at: u64,
        since: i64,
        until: Option<i64>,
        filter: EventFilter,
    ) -> EventSubscription {
        EventSubscription {
            wake: shared.next.subscribe(),
            shared,
            at,
            place: None,
            read: VecDeque::new(),
            since,
            until,
            filter,
            past: false,
        }
    }

    /// The next event that the filter lets through; `None` once past `until`. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            self.wake.borrow_and_update();
            if let Some(event) = self.ready().await {
                return Some(event);
            }
            if self.past {
                return None;
            }
            self.wake.changed().await.ok()?;
        }
    }

    /// What is there already, from memory or disk, without waiting for what is to come. Cancel safe.
    pub async fn ready(&mut self) -> Option<Arc<Event>> {
        loop {
            if self.past {
                return None;
            }
            let event = match self.read.pop_front() {
                Some(Item::Event(event)) => event,
                Some(Item::Lost(count, time)) => self.shared.lost(count, time),
                None => match self.look() {
                    Look::Event(event) => event,
                    Look::Wait => return None,
                    Look::Gone(first, time) => {
                        self.read_on(first, time).await;
                        continue;
                    }
                },
            };
            if self.until.is_some_and(|until| event.time_nano > until) {
                self.past = true;
                return None;
            }
            return Some(event);
        }
    }

    fn look(&mut self) -> Look {
        let ring = self.shared.ring();
        if self.at < ring.first {
            let time = ring.events.front().map_or(0, |event| event.time_nano);
            return Look::Gone(ring.first, time);
        }
        let skip = usize::try_from(self.at - ring.first).unwrap_or(usize::MAX);
        for event in ring.events.iter().skip(skip) {
            self.at += 1;
            if event.time_nano >= self.since && self.filter.matches(event) {
                return Look::Event(event.clone());
            }
        }
        Look::Wait
    }

    /// Reads a piece of what is not in memory any more; `first` is the first that is. What the journal does not have
    /// either is lost.
    async fn read_on(&mut self, first: u64, time: i64) {
        let (shared, place) = (self.shared.clone(), self.place);
        let (from, since, filter) = (self.at, self.since, self.filter.clone());
        let read = blocking(move || {
            let wanted = Wanted {
                from,
                to: first,
                since,
                filter: &filter,
            };
            shared
                .journal
                .as_ref()
                .map(|journal| journal.read(place, &wanted))
                .transpose()
        });
        let chunk = match read.await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "the journal of events can't be read");
                None
            }
            Err(e) => {
                tracing::warn!(error = %e, "the journal of events can't be read");
                None
            }
        };
        if let Some(chunk) = chunk {
            self.read.extend(chunk.items);
            self.at = chunk.next;
            self.place = chunk.place;
            if self.place.is_some() {
                return;
            }
        }
        if self.at < first {
            self.read.push_back(Item::Lost(first - self.at, time));
        }
        self.at = self.at.max(first);
        self.place = None;
    }
}
