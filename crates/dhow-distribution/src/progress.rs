//! What a transfer tells on its way: Docker's progress messages, before they are JSON.

use std::borrow::Cow;
use std::sync::Arc;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A line of its own; with an id it opens that part's line.
    Message { id: Option<String>, text: String },
    /// The state of one part, by its short digest.
    Part {
        id: String,
        state: Cow<'static, str>,
        /// Bytes done and bytes in all, where it has a measure.
        amount: Option<(u64, u64)>,
    },
    /// The result of a push.
    Pushed {
        tag: String,
        digest: String,
        size: u64,
    },
}

/// Where messages go. Called from several tasks; must not block.
pub type Progress = Arc<dyn Fn(ProgressEvent) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Reporter(pub Progress);

impl Reporter {
    pub fn message(&self, text: impl Into<String>) {
        (self.0)(ProgressEvent::Message {
            id: None,
            text: text.into(),
        });
    }

    pub fn message_for(&self, id: &str, text: impl Into<String>) {
        (self.0)(ProgressEvent::Message {
            id: Some(id.to_owned()),
            text: text.into(),
        });
    }

    pub fn part(&self, id: &str, state: impl Into<Cow<'static, str>>) {
        (self.0)(ProgressEvent::Part {
            id: id.to_owned(),
            state: state.into(),
            amount: None,
        });
    }

    pub fn amount(&self, id: &str, state: &'static str, done: u64, total: u64) {
        (self.0)(ProgressEvent::Part {
            id: id.to_owned(),
            state: state.into(),
            amount: Some((done, total)),
        });
    }

    pub fn pushed(&self, tag: &str, digest: &str, size: u64) {
        (self.0)(ProgressEvent::Pushed {
            tag: tag.to_owned(),
            digest: digest.to_owned(),
            size,
        });
    }
}

/// Lets through as many messages as a person can follow, and the first.
pub(crate) struct Throttle(Option<std::time::Instant>);

const INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

impl Throttle {
    pub fn new() -> Throttle {
        Throttle(None)
    }

    pub fn is_due(&mut self) -> bool {
        let now = std::time::Instant::now();
        let due = self.0.is_none_or(|last| now - last >= INTERVAL);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
