//! The progress streams of pull, push and load: messages as JSON, one a line.
//!
//! What fails before anything was told is answered with a status of its own, afterwards only a message
//! can say so. A client that goes away ends the transfer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use bytes::Bytes;
use dhow_api::{JsonMessage, ProgressDetail};
use dhow_distribution::{Progress, ProgressEvent};
use futures_util::Stream;
use tokio::task::JoinHandle;

use crate::error::{ApiError, Result};
use crate::outbox::{Outbox, Told, outbox};
use crate::routes::AppState;

type Outcome = Result<()>;

/// Runs a transfer, and answers with what it tells.
pub async fn respond<F>(state: &AppState, transfer: impl FnOnce(Progress) -> F) -> Result<Response>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let (teller, mut events) = outbox();
    let report: Progress = Arc::new(move |event| teller.tell(event));
    let mut running = Running(Some(state.tasks.spawn(transfer(report))));
    match events.next().await {
        Some(first) => {
            let messages = Messages {
                next: Some(line(&message(first))),
                events,
                running,
            };
            Ok(state.stream("application/json", messages))
        }
        None => {
            running.outcome().await?;
            Ok(state.stream("application/json", futures_util::stream::empty::<Item>()))
        }
    }
}

/// Does something, and answers at once with what it tells and how it ends.
pub fn stream<F>(
    state: &AppState,
    work: impl FnOnce(Box<dyn Fn(Told) + Send + Sync>) -> F,
) -> Response
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let (teller, events) = outbox();
    let work = work(Box::new(move |told| teller.tell(told)));
    let messages = Messages {
        next: None,
        events,
        running: Running(Some(state.tasks.spawn(work))),
    };
    state.stream("application/json", messages)
}

/// A transfer's task; dropped, it is ended.
struct Running(Option<JoinHandle<Outcome>>);

impl Running {
    async fn outcome(&mut self) -> Result<()> {
        let Some(task) = &mut self.0 else {
            return Ok(());
        };
        let outcome = task.await;
        self.0 = None;
        match outcome {
            Ok(outcome) => outcome,
            Err(e) => Err(ApiError::Internal(format!("the transfer failed: {e}"))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

type Item = std::result::Result<Bytes, std::convert::Infallible>;

struct Messages {
    next: Option<Bytes>,
    events: Outbox,
    running: Running,
}

impl Stream for Messages {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        match self.events.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(event)) => return Poll::Ready(Some(Ok(line(&message(event))))),
            Poll::Ready(None) => {}
        }
        let Some(task) = &mut self.running.0 else {
            return Poll::Ready(None);
        };
        let outcome = match Pin::new(task).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        self.running.0 = None;
        let failure = match outcome {
            Ok(Ok(())) => return Poll::Ready(None),
            Ok(Err(e)) => e.to_string(),
            Err(e) => format!("the transfer failed: {e}"),
        };
        tracing::info!("a transfer failed: {failure}");
        Poll::Ready(Some(Ok(line(&JsonMessage::failure(failure)))))
    }
}

/// A message as it is sent.
pub fn line(message: &JsonMessage) -> Bytes {
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.extend_from_slice(b"\r\n");
    text.into()
}

fn message(told: Told) -> JsonMessage {
    let event = match told {
        Told::Transfer(event) => event,
        Told::Stream(stream) => {
            return JsonMessage {
                stream,
                ..JsonMessage::default()
            };
        }
    };
    match event {
        ProgressEvent::Message { id, text } => JsonMessage {
            id: id.unwrap_or_default(),
            ..JsonMessage::status(text)
        },
        ProgressEvent::Part { id, state, amount } => {
            let (current, total) = amount.unwrap_or_default();
            let detail = ProgressDetail {
                current: i64::try_from(current).unwrap_or(i64::MAX),
                total: i64::try_from(total).unwrap_or(i64::MAX),
                ..ProgressDetail::default()
            };
            JsonMessage::progress(id, state, detail)
        }
        ProgressEvent::Pushed { tag, digest, size } => JsonMessage {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(serde_json::json!({"Tag": tag, "Digest": digest, "Size": size})),
            ..JsonMessage::default()
        },
    }
}
