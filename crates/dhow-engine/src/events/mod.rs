//! What happened, told to whoever listens: Docker's `GET /events`.
//!
//! Publishing never waits for a listener. The last [`HISTORY`] events are kept; a listener reads from them
//! at its own pace, and one that falls behind further than that is told how many it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use dhow_api::{Actor, Event, Filters};
use tokio::sync::watch;

/// How many events are kept.
pub const HISTORY: usize = 2048;

/// Which events a listener wants: within a key any value, all keys.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    filters: Filters,
}

/// The keys that can be filtered by.
const KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

impl EventFilter {
    /// Fails on a key that Docker does not know.
    pub fn new(filters: Filters) -> crate::Result<EventFilter> {
        filters.validate(&KEYS)?;
        Ok(EventFilter { filters })
    }

    pub fn matches(&self, event: &Event) -> bool {
        KEYS.iter().all(|key| {
            let mut wanted = self.filters.get(key).peekable();
            wanted.peek().is_none() || wanted.any(|w| matches_one(key, w, event))
        })
    }
}

fn matches_one(key: &str, wanted: &str, event: &Event) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map(String::as_str);
    match key {
        // `exec_start: sh` is found as exec_start.
        "event" => {
            event.action == wanted
                || event
                    .action
                    .split_once(':')
                    .is_some_and(|(action, _)| action == wanted)
        }
        "type" => event.kind == wanted,
        "scope" => event.scope == wanted,
        "label" => match wanted.split_once('=') {
            Some((k, v)) => attribute(k) == Some(v),
            None => attribute(wanted).is_some(),
        },
        "image" => {
            let short = |name: &str| name.split(['@', ':']).next().unwrap_or(name).to_owned();
            if event.kind == "image" {
                [Some(event.actor.id.as_str()), attribute("name")]
                    .into_iter()
                    .flatten()
                    .any(|name| name == wanted || short(name) == wanted)
            } else {
                attribute("image").is_some_and(|name| name == wanted || short(name) == wanted)
            }
        }
        kind => {
            let own = event.kind == kind
                && (event.actor.id == wanted
                    || event.actor.id.starts_with(wanted)
                    || attribute("name") == Some(wanted));
            // A network's event names the container it is about.
            own || attribute(kind) == Some(wanted)
        }
    }
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The number of the first event that is kept.
    first: u64,
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
}

impl Default for EventBus {
    fn default() -> Self {
        EventBus {
            shared: Arc::new(Shared {
                ring: Mutex::new(Ring {
                    events: VecDeque::new(),
                    first: 0,
                }),
                next: watch::Sender::new(0),
            }),
        }
    }
}

impl EventBus {
    pub fn publish(&self, kind: &str, action: impl Into<String>, actor: Actor) {
        let mut ring = self.shared.ring.lock().unwrap_or_else(|e| e.into_inner());
        // The clock may step back; a listener's `since` relies on order.
        let last = ring.events.back().map_or(0, |e| e.time_nano);
        let time_nano = dhow_api::time::now().max(last);
        let event = Event {
            kind: kind.to_owned(),
            action: action.into(),
            actor,
            scope: "local".to_owned(),
            time: time_nano / 1_000_000_000,
            time_nano,
        };
        if ring.events.len() == HISTORY {
            ring.events.pop_front();
            ring.first += 1;
        }
        ring.events.push_back(Arc::new(event));
        let next = ring.first + ring.events.len() as u64;
        drop(ring);
        self.shared.next.send_if_modified(|n| {
            let newer = next > *n;
            *n = next.max(*n);
            newer
        });
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.shared.next.receiver_count()
    }

    /// Events from now on, after those kept that are not older than `since` (nanoseconds since the epoch);
    /// it ends at the first that is newer than `until`. A listener that also wants to stop at that time
    /// keeps the clock itself.
    pub fn subscribe(
        &self,
        since: Option<i64>,
        until: Option<i64>,
        filter: EventFilter,
    ) -> EventSubscription {
        let ring = self.shared.ring.lock().unwrap_or_else(|e| e.into_inner());
        let end = ring.first + ring.events.len() as u64;
        let at = match since {
            Some(since) => {
                let skip = ring.events.partition_point(|e| e.time_nano < since);
                ring.first + skip as u64
            }
            None => end,
        };
        EventSubscription {
            shared: self.shared.clone(),
            wake: self.shared.next.subscribe(),
            at,
            until,
            filter,
        }
    }
}

#[derive(Debug)]
pub struct EventSubscription {
    shared: Arc<Shared>,
    wake: watch::Receiver<u64>,
    at: u64,
    until: Option<i64>,
    filter: EventFilter,
}

impl EventSubscription {
    /// The next event that the filter lets through; `None` once past `until`. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            self.wake.borrow_and_update();
            match self.try_next() {
                Next::Event(event) => return Some(event),
                Next::Past => return None,
                Next::Wait => self.wake.changed().await.ok()?,
            }
        }
    }

    /// What is there now, without waiting.
    pub fn take_ready(&mut self) -> Option<Arc<Event>> {
        match self.try_next() {
            Next::Event(event) => Some(event),
            Next::Past | Next::Wait => None,
        }
    }

    fn try_next(&mut self) -> Next {
        let ring = self.shared.ring.lock().unwrap_or_else(|e| e.into_inner());
        if self.at < ring.first {
            tracing::warn!(
                missed = ring.first - self.at,
                "an event listener was too slow"
            );
            self.at = ring.first;
        }
        while let Some(event) = ring.events.get((self.at - ring.first) as usize) {
            if self.until.is_some_and(|until| event.time_nano > until) {
                return Next::Past;
            }
            self.at += 1;
            if self.filter.matches(event) {
                return Next::Event(event.clone());
            }
        }
        Next::Wait
    }
}

enum Next {
    Event(Arc<Event>),
    Past,
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(id: &str, attributes: &[(&str, &str)]) -> Actor {
        Actor {
            id: id.into(),
            attributes: attributes
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        }
    }

    fn filter(values: &[(&str, &[&str])]) -> EventFilter {
        let mut filters = Filters::default();
        for (key, values) in values {
            for value in *values {
                filters.add(*key, *value);
            }
        }
        EventFilter::new(filters).unwrap()
    }

    #[tokio::test]
    async fn history_then_live() {
        let bus = EventBus::default();
        bus.publish("container", "create", actor("a", &[]));
        let mut all = bus.subscribe(Some(0), None, EventFilter::default());
        let mut live = bus.subscribe(None, None, EventFilter::default());
        bus.publish("container", "start", actor("a", &[]));
        assert_eq!(all.next().await.unwrap().action, "create");
        assert_eq!(all.next().await.unwrap().action, "start");
        assert_eq!(live.next().await.unwrap().action, "start");
        assert!(live.take_ready().is_none());
    }

    #[tokio::test]
    async fn history_is_bounded_and_a_slow_listener_goes_on() {
        let bus = EventBus::default();
        let mut slow = bus.subscribe(None, None, EventFilter::default());
        for n in 0..HISTORY + 10 {
            bus.publish("container", n.to_string(), actor("a", &[]));
        }
        assert_eq!(slow.next().await.unwrap().action, "10");
    }

    #[test]
    fn filters_are_any_of_a_key_and_all_keys() {
        let bus = EventBus::default();
        bus.publish(
            "container",
            "exec_start: sh",
            actor(
                "abcdef",
                &[("name", "web"), ("image", "busybox:1"), ("tier", "x")],
            ),
        );
        let event = bus
            .subscribe(Some(0), None, EventFilter::default())
            .take_ready()
            .unwrap();
        let yes: &[&[(&str, &[&str])]] = &[
            &[("event", &["exec_start"])],
            &[("event", &["die", "exec_start"]), ("type", &["container"])],
            &[("container", &["web"])],
            &[("container", &["abc"])],
            &[("image", &["busybox"])],
            &[("label", &["tier"])],
            &[("label", &["tier=x"])],
        ];
        for values in yes {
            assert!(filter(values).matches(&event), "{values:?}");
        }
        let no: &[&[(&str, &[&str])]] = &[
            &[("event", &["exec"])],
            &[("container", &["we"])],
            &[("type", &["container"]), ("label", &["tier=y"])],
            &[("network", &["web"])],
        ];
        for values in no {
            assert!(!filter(values).matches(&event), "{values:?}");
        }
        assert!(EventFilter::new(Filters::parse(r#"{"colour":["red"]}"#).unwrap()).is_err());
    }
}
