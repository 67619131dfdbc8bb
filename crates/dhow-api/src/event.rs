//! Events: what happened to what.

use std::collections::BTreeMap;

use crate::wire::{is_default, wire};

wire! {
    /// One event of `GET /events`. Clients before 1.52 also want `status`, `id` and `from`, which the
    /// daemon adds for them.
    pub struct Event {
        /// `container`, `image`, `network`, `volume` or `daemon`.
        #[serde(rename = "Type")]
        pub kind: String,
        #[serde(rename = "Action")]
        pub action: String,
        #[serde(rename = "Actor")]
        pub actor: Actor,
        #[serde(skip_serializing_if = "is_default")]
        pub scope: String,
        /// Seconds since the epoch.
        #[serde(skip_serializing_if = "is_default")]
        pub time: i64,
        /// Nanoseconds since the epoch.
        #[serde(rename = "timeNano", skip_serializing_if = "is_default")]
        pub time_nano: i64,
    }

    pub struct Actor {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(rename = "Attributes")]
        pub attributes: BTreeMap<String, String>,
    }
}
