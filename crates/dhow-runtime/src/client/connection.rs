//! One connection to a shim: requests and their answers, and the exits that a shim tells of by itself.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use super::exits::Exits;
use crate::packet::{self, Outgoing};
use crate::protocol::{Asked, Command, Event, Failure, Reply};

pub(super) struct Shared {
    socket: AsyncFd<OwnedFd>,
    /// A packet's datagrams follow one another: one sender at a time.
    sending: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
    /// The shim's process; 0 while it is not known.
    pub pid: AtomicU32,
    state: Mutex<State>,
}

/// A reply with the descriptors beside it.
type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

pub(super) struct State {
    pub closed: bool,
    pending: HashMap<u64, oneshot::Sender<Answer>>,
    pub exits: Exits,
    /// How often the container has run out of memory.
    pub ooms: watch::Sender<u64>,
    /// How often the log's server was found to be away.
    pub servers_away: watch::Sender<u64>,
}

impl Shared {
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: register(socket)?,
            sending: tokio::sync::Mutex::new(()),
            numbers: AtomicU64::new(1),
            pid: AtomicU32::new(0),
            state: Mutex::new(State {
                closed: false,
                pending: HashMap::new(),
                exits: Exits::new(),
                ooms: watch::Sender::new(0),
                servers_away: watch::Sender::new(0),
            }),
        })
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks and waits for the answer, no longer than `patience`: then ETIMEDOUT is the failure, and an answer
    /// that comes later goes nowhere.
    pub async fn call(
        &self,
        command: &Command,
        blob: &[u8],
        fds: Vec<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Answer {
        let answer = self.ask(command, blob, fds);
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Os(libc::ETIMEDOUT)),
        }
    }

    async fn ask(&self, command: &Command, blob: &[u8], fds: Vec<BorrowedFd<'_>>) -> Answer {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let json = serde_json::to_vec(&Asked { number, command })
            .map_err(|_| Failure::Os(libc::EINVAL))?;
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return Err(Failure::Os(libc::ECONNRESET));
            }
            state.pending.insert(number, answer);
        }
        let _pending = Pending {
            connection: self,
            number,
        };
        let sent = async {
            let packet = Outgoing::new(&json, blob, fds)?;
            let _turn = self.sending.lock().await;
            let mut sending = Sending {
                connection: self,
                packet,
            };
            self.socket
                .async_io(Interest::WRITABLE, |socket| sending.packet.send(socket))
                .await
        };
        sent.await.map_err(|error: io::Error| {
            Failure::Os(match error.raw_os_error() {
                Some(libc::EPIPE) | None => libc::ECONNRESET,
                Some(code) => code,
            })
        })?;
        answered.await.unwrap_or(Err(Failure::Os(libc::ECONNRESET)))
    }

    /// Ends the connection, at once and for both sides.
    pub fn hang_up(&self) {
        // One that is closed already is as good.
        let _ = rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Both);
    }
}

/// A request that is to be answered, or given up.
struct Pending<'a> {
    connection: &'a Shared,
    number: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.connection.state().pending.remove(&self.number);
    }
}

/// A packet that is being sent, or given up: half of one leaves the connection of no use.
struct Sending<'a> {
    connection: &'a Shared,
    packet: Outgoing<BorrowedFd<'a>>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.packet.is_half_sent() {
            self.connection.hang_up();
        }
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
                let waiter = shared.state().pending.remove(&number);
                if let Some(waiter) = waiter {
                    // A caller that went away has no use for the answer.
                    let _ = waiter.send(result.map(|reply| (reply, packet.fds)));
                }
            }
            Ok(Event::Exited { target, record }) => shared.state().exits.ended(target, record),
            Ok(Event::LogServerAway) => {
                shared.state().servers_away.send_modify(|times| *times += 1);
            }
            Ok(Event::OutOfMemory) => shared.state().ooms.send_modify(|times| *times += 1),
            Err(error) => {
                tracing::warn!(%error, "a shim sent a message that this daemon does not know");
            }
        }
    }
    let mut state = shared.state();
    state.closed = true;
    state.pending.clear();
    state.exits.close();
}

impl Failure {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Failure::Os(code) => io::Error::from_raw_os_error(code),
            Failure::Start(error) => io::Error::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::protocol::Request;

    fn pair() -> (OwnedFd, OwnedFd) {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        (ours, theirs)
    }

    fn reply(to: &OwnedFd, number: u64) {
        let event = Event::Reply {
            number,
            result: Ok(Reply::Done),
        };
        let json = serde_json::to_vec(&event).unwrap();
        let mut packet = Outgoing::<OwnedFd>::new(&json, &[], Vec::new()).unwrap();
        packet.send(to).unwrap();
    }

    #[tokio::test]
    async fn a_shim_that_does_not_answer_is_not_waited_for() {
        let (ours, theirs) = pair();
        let shared = Arc::new(Shared::new(ours).unwrap());
        let reader = tokio::spawn(read_events(shared.clone()));
        let short = Duration::from_millis(20);
        let late = shared.call(&Command::Release, &[], Vec::new(), short).await;
        let error = late.unwrap_err().into_io();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(shared.state().pending.is_empty());
        // The late answer, and then one in time.
        reply(&theirs, 1);
        let peer = tokio::task::spawn_blocking(move || {
            for number in [1, 2] {
                let packet = packet::receive(&theirs).unwrap().unwrap();
                let request = Request::parse(&packet.json).unwrap();
                assert_eq!(request.number, number);
            }
            reply(&theirs, 2);
            theirs
        });
        let long = Duration::from_secs(60);
        let answer = shared.call(&Command::Release, &[], Vec::new(), long).await;
        assert!(matches!(answer, Ok((Reply::Done, _))), "{answer:?}");
        drop(peer.await.unwrap());
        let gone = shared.call(&Command::Release, &[], Vec::new(), long).await;
        assert_eq!(
            gone.unwrap_err().into_io().kind(),
            io::ErrorKind::ConnectionReset
        );
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn half_a_packet_ends_the_connection() {
        let (ours, theirs) = pair();
        // Room for a few datagrams, until the peer reads.
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap();
        let shared = Arc::new(Shared::new(ours).unwrap());
        let reader = tokio::spawn(read_events(shared.clone()));
        let file = UnixDatagram::unbound().unwrap();
        let fds = vec![file.as_fd(); 8000];
        let short = Duration::from_millis(50);
        let result = shared.call(&Command::Release, &[], fds, short).await;
        assert!(result.is_err());
        let ended = tokio::time::timeout(Duration::from_secs(20), reader).await;
        ended.expect("the connection's end").unwrap();
        drop(theirs);
    }
}
