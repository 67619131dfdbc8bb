//! How long a registry may keep us waiting.
//!
//! A connection has a limit from the look-up of its name to the end of its TLS handshake (see [`crate::connect`]).
//! After that only silence counts, never the length of a transfer: each piece of a body, either way, and the
//! answer's head have to come in their time.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// Limits of silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Between two pieces of a body.
    pub idle: Duration,
    /// For an answer's head.
    pub answer: Duration,
    /// For the head of the answer to a body that was sent.
    pub commit: Duration,
}

/// A limit that has passed.
pub(crate) struct TooLong(pub Duration);

impl Patience {
    /// Waits for the answer to a request whose body is watched by `sending`.
    pub async fn answer<T>(
        &self,
        sending: &Sending,
        answer: impl Future<Output = T>,
    ) -> Result<T, TooLong> {
        let mut answer = pin!(answer);
        loop {
            let (since, limit) = match sending.state() {
                State::Nothing(begun) => (begun, self.answer),
                State::Sending(last) => (last, self.idle),
                State::Sent(end) => (end, self.commit),
            };
            match tokio::time::timeout_at(since + limit, &mut answer).await {
                Ok(answer) => return Ok(answer),
                // It may have got further meanwhile.
                Err(_) if sending.state().at() > since => {}
                Err(_) => return Err(TooLong(limit)),
            }
        }
    }
}

/// As messages show it.
pub(crate) fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No byte of a body has been asked for: there is none, or the connection is not made yet.
    Nothing(Instant),
    /// The last piece was taken then.
    Sending(Instant),
    Sent(Instant),
}

impl State {
    fn at(self) -> Instant {
        let (State::Nothing(at) | State::Sending(at) | State::Sent(at)) = self;
        at
    }
}

/// How far a request's body has been sent.
#[derive(Clone, Debug)]
pub(crate) struct Sending(Arc<Mutex<State>>);

impl Sending {
    pub fn begin() -> Sending {
        Sending(Arc::new(Mutex::new(State::Nothing(Instant::now()))))
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The same body, watched.
    pub fn watch<B>(&self, body: B) -> Watched<B> {
        Watched {
            body,
            sending: self.clone(),
        }
    }
}

/// A body that says how far it has been sent.
pub(crate) struct Watched<B> {
    body: B,
    sending: Sending,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => {
                self.sending.set(State::Sent(Instant::now()));
            }
            Poll::Ready(Some(Ok(_))) => self.sending.set(State::Sending(Instant::now())),
            Poll::Ready(None) => self.sending.set(State::Sent(Instant::now())),
            // Our own disk, or an error that the request ends with.
            Poll::Pending | Poll::Ready(Some(Err(_))) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
