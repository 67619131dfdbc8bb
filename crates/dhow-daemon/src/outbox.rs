//! What a transfer has told and its client has not read yet.
//!
//! A transfer does not wait for its client. Of each part's figures only the newest is kept, so that a client
//! that does not read costs what the parts and their states cost, however long the transfer lasts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use dhow_distribution::ProgressEvent;

/// What a transfer or a load has to tell.
#[derive(Clone, Debug)]
pub enum Told {
    Transfer(ProgressEvent),
    /// Text as it is to be shown, with its newline.
    Stream(String),
}

impl From<ProgressEvent> for Told {
    fn from(event: ProgressEvent) -> Told {
        Told::Transfer(event)
    }
}

/// More than this are not kept for a client: the oldest figures go first, and then whatever is oldest. An
/// image of the most layers that there can be (127) tells of some ten states each.
const MOST: usize = 4096;

#[derive(Default)]
struct Shared {
    waiting: VecDeque<Told>,
    ended: bool,
    reader: Option<Waker>,
}

impl Shared {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The transfer's end. When it is dropped, the reader sees the end.
pub struct Teller(Arc<Mutex<Shared>>);

/// The client's end.
pub struct Outbox(Arc<Mutex<Shared>>);

pub fn outbox() -> (Teller, Outbox) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Teller(shared.clone()), Outbox(shared))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(|e| e.into_inner())
}

impl Teller {
    pub fn tell(&self, event: impl Into<Told>) {
        let event = event.into();
        let mut shared = lock(&self.0);
        let last = part(&event).and_then(|id| {
            let mut waiting = shared.waiting.iter_mut().rev();
            waiting.find(|e| part(e) == Some(id))
        });
        match last {
            // Only the last word of a part is replaced: its states come in order.
            Some(last) if is_newer_figure(last, &event) => *last = event,
            _ => {
                if shared.waiting.len() >= MOST {
                    let figure = shared.waiting.iter().position(is_figure);
                    shared.waiting.remove(figure.unwrap_or(0));
                }
                shared.waiting.push_back(event);
            }
        }
        shared.wake();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.ended = true;
        shared.wake();
    }
}

impl Outbox {
    /// The next event; `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let mut shared = lock(&self.0);
        match shared.waiting.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if shared.ended => Poll::Ready(None),
            None => {
                shared.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As [`Outbox::poll_next`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Told> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

fn part(event: &Told) -> Option<&str> {
    match event {
        Told::Transfer(ProgressEvent::Part { id, .. }) => Some(id),
        Told::Transfer(ProgressEvent::Message { .. } | ProgressEvent::Pushed { .. })
        | Told::Stream(_) => None,
    }
}

fn is_figure(event: &Told) -> bool {
    matches!(
        event,
        Told::Transfer(ProgressEvent::Part {
            amount: Some(_),
            ..
        })
    )
}

fn is_newer_figure(last: &Told, event: &Told) -> bool {
    match (last, event) {
        (
            Told::Transfer(ProgressEvent::Part { state: before, .. }),
            Told::Transfer(ProgressEvent::Part { state: now, .. }),
        ) => before == now && is_figure(last) && is_figure(event),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(id: &str, state: &'static str, done: u64) -> ProgressEvent {
        ProgressEvent::Part {
            id: id.to_owned(),
            state: state.into(),
            amount: Some((done, 100_000)),
        }
    }

    fn shown(event: Told) -> String {
        let event = match event {
            Told::Transfer(event) => event,
            Told::Stream(text) => return text,
        };
        match event {
            ProgressEvent::Part { id, state, amount } => {
                let done = amount.map(|(done, _)| done.to_string());
                format!("{id} {state} {}", done.unwrap_or_default())
            }
            ProgressEvent::Message { text, .. } => text,
            ProgressEvent::Pushed { tag, .. } => tag,
        }
    }

    #[tokio::test]
    async fn of_figures_the_newest_waits_and_states_keep_their_order() {
        let (teller, mut outbox) = outbox();
        for done in 0..100_000 {
            teller.tell(figure("a", "Downloading", done));
            teller.tell(figure("b", "Downloading", done));
        }
        teller.tell(ProgressEvent::Part {
            id: "a".into(),
            state: "Download complete".into(),
            amount: None,
        });
        for done in 0..1000 {
            teller.tell(figure("a", "Extracting", done));
        }
        teller.tell(ProgressEvent::Message {
            id: None,
            text: "done".into(),
        });
        drop(teller);
        let mut all = Vec::new();
        while let Some(event) = outbox.next().await {
            all.push(shown(event));
        }
        assert_eq!(
            all,
            [
                "a Downloading 99999",
                "b Downloading 99999",
                "a Download complete ",
                "a Extracting 999",
                "done",
            ]
        );
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_an_event_and_by_the_end() {
        let (teller, mut outbox) = outbox();
        let reader = tokio::spawn(async move {
            let first = outbox.next().await.map(shown);
            (first, outbox.next().await.is_none())
        });
        tokio::task::yield_now().await;
        teller.tell(figure("a", "Pushing", 1));
        tokio::task::yield_now().await;
        drop(teller);
        let (first, ended) = reader.await.unwrap();
        assert_eq!(first.as_deref(), Some("a Pushing 1"));
        assert!(ended);
    }

    #[test]
    fn there_is_a_bound_to_what_waits() {
        let (teller, outbox) = outbox();
        for n in 0..3 * MOST {
            teller.tell(figure(&n.to_string(), "Downloading", 1));
        }
        assert_eq!(lock(&outbox.0).waiting.len(), MOST);
    }
}
