//! One connection to a shim: requests and their answers, and the exits that a shim tells of by itself.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use crate::packet::{self, Outgoing};
use crate::protocol::{Command, Event, ExitRecord, Failure, Reply, Request, Target};

pub(super) struct Shared {
    socket: AsyncFd<OwnedFd>,
    /// A packet's datagrams follow one another: one sender at a time.
    sending: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub closed: bool,
    pending: HashMap<u64, oneshot::Sender<Result<Reply, Failure>>>,
    pub exits: HashMap<Target, watch::Sender<Option<ExitRecord>>>,
}

impl Shared {
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: register(socket)?,
            sending: tokio::sync::Mutex::new(()),
            numbers: AtomicU64::new(1),
            state: Mutex::new(State {
                exits: HashMap::from([(Target::Init, watch::Sender::new(None))]),
                ..State::default()
            }),
        })
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn call(
        &self,
        command: Command,
        blob: &[u8],
        fds: Vec<BorrowedFd<'_>>,
    ) -> Result<Reply, Failure> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let json = serde_json::to_vec(&Request { number, command })
            .map_err(|_| Failure::Os(libc::EINVAL))?;
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return Err(Failure::Os(libc::ECONNRESET));
            }
            state.pending.insert(number, answer);
        }
        let sent = async {
            let mut packet = Outgoing::new(&json, blob, fds)?;
            let _turn = self.sending.lock().await;
            self.socket
                .async_io(Interest::WRITABLE, |socket| packet.send(socket))
                .await
        };
        if let Err(error) = sent.await {
            self.state().pending.remove(&number);
            return Err(Failure::Os(match error.raw_os_error() {
                Some(libc::EPIPE) | None => libc::ECONNRESET,
                Some(code) => code,
            }));
        }
        answered.await.unwrap_or(Err(Failure::Os(libc::ECONNRESET)))
    }
}

pub(super) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it lives.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }
        .map_err(Into::into)
}

pub(super) async fn read_events(shared: Arc<Shared>) {
    while let Ok(Some(packet)) = shared
        .socket
        .async_io(Interest::READABLE, |socket| packet::receive(socket))
        .await
    {
        match serde_json::from_slice(&packet.json) {
            Ok(Event::Reply { number, result }) => {
                if let Some(waiter) = shared.state().pending.remove(&number) {
                    // A caller that went away has no use for the answer.
                    let _ = waiter.send(result);
                }
            }
            Ok(Event::Exited { target, record }) => {
                shared
                    .state()
                    .exits
                    .entry(target)
                    .or_default()
                    .send_replace(Some(record));
            }
            Err(error) => {
                tracing::warn!(%error, "a shim sent a message that this daemon does not know");
            }
        }
    }
    let mut state = shared.state();
    state.closed = true;
    state.pending.clear();
    state.exits.clear();
}

impl Failure {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Failure::Os(code) => io::Error::from_raw_os_error(code),
            Failure::Start(error) => io::Error::other(error),
        }
    }
}
