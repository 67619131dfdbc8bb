//! Which events a listener wants, by the rules of Docker's `filters`: names and ids by how they begin, whatever the
//! event is about; types and scopes as they are; all labels.

use dhow_api::{Event, Filters};

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

/// Those that name the one that the event is about.
const NAMES: [&str; 9] = [
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// Actions with more behind a colon; who asks for one of these asks for whatever begins so.
const WITH_MORE: [&str; 3] = ["exec_create", "exec_start", "health_status"];

impl EventFilter {
    /// Fails on a key that Docker does not know.
    pub fn new(filters: Filters) -> crate::Result<EventFilter> {
        filters.validate(&KEYS)?;
        Ok(EventFilter { filters })
    }

    /// Whether an event is one of those that were asked for.
    pub fn matches(&self, event: &Event) -> bool {
        let filters = &self.filters;
        if filters.is_empty() {
            return true;
        }
        let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
        let named = |key: &&str| {
            filters.prefix_match(key, &event.actor.id)
                || filters.prefix_match(key, attribute("name"))
        };
        self.matches_action(&event.action)
            && filters.exact_match("type", &event.kind)
            && filters.exact_match("scope", &event.scope)
            && NAMES.iter().all(named)
            && self.matches_image(event)
            && filters.labels_match("label", &event.actor.attributes)
    }

    fn matches_action(&self, action: &str) -> bool {
        if self
            .filters
            .get("event")
            .any(|wanted| WITH_MORE.contains(&wanted))
        {
            self.filters.prefix_match("event", action)
        } else {
            self.filters.exact_match("event", action)
        }
    }

    /// By the image's id, or the name that the image or the container was given, with its tag or without.
    fn matches_image(&self, event: &Event) -> bool {
        if !self.filters.contains("image") {
            return true;
        }
        let key = if event.kind == "image" {
            "name"
        } else {
            "image"
        };
        let name = event.actor.attributes.get(key).map_or("", String::as_str);
        [event.actor.id.as_str(), name].into_iter().any(|name| {
            self.filters.exact_match("image", name)
                || self.filters.exact_match("image", &without_tag(name))
        })
    }
}

/// The short name of a reference's repository; what is no reference stays as it is.
fn without_tag(name: &str) -> String {
    match dhow_oci::Reference::parse_normalized(name) {
        Ok(reference) => reference.familiar_name(),
        Err(_) => name.to_owned(),
    }
}
