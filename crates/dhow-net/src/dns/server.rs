//! One sandbox's name server: a task that takes queries from its sockets, answers what is ours at once, and has the others asked
//! elsewhere beside it.
//!
//! Invariant: a server at rest is a task that waits for its sockets, without timers or buffers; what it has begun for clients is
//! bounded, and ends with it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::asked::{Asked, Transport, Unanswerable};
use super::forward::{Forwarding, Onward, Question};
use super::upstream::{self, OpenNetns};
use super::{Names, Sockets, Upstreams, answer};
use crate::error::{Doing, Result};

/// Queries over UDP of one sandbox that are being asked elsewhere; further ones are dropped, and come again.
const MOST_QUERIES: usize = 1024;
/// Clients over TCP; further ones wait in the listener's queue.
const MOST_CLIENTS: usize = 128;
/// How long a client over TCP may take for its next query, and for taking its answer.
const IDLE: Duration = Duration::from_secs(10);
/// The pause after a client could not be let in, or a datagram not be read: without descriptors it would go on failing.
const PAUSE: Duration = Duration::from_millis(100);

/// A running name server. It ends when dropped; the sockets are closed in this process only.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whom a server asks.
struct Backend {
    names: Arc<dyn Names>,
    upstreams: Box<dyn Fn() -> Upstreams + Send + Sync>,
    netns: Arc<OpenNetns>,
    forwarding: Forwarding,
    /// Tells the sandboxes of this process apart.
    number: u64,
}

impl Server {
    /// Serves in the runtime that it is called in. `upstreams` is asked for each query, and answers at once; `netns` opens the
    /// sandbox's namespace, for upstreams that are asked from there.
    pub fn start(
        sockets: Sockets,
        names: Arc<dyn Names>,
        upstreams: impl Fn() -> Upstreams + Send + Sync + 'static,
        netns: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static,
        forwarding: &Forwarding,
    ) -> Result<Server> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let backend = Arc::new(Backend {
            names,
            upstreams: Box::new(upstreams),
            netns: Arc::new(netns),
            forwarding: forwarding.clone(),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        });
        let (udp, tcp) = register(sockets)
            .doing(|| "cannot serve the sockets of a container's name server".to_owned())?;
        let task = tokio::spawn(serve(Arc::new(udp), tcp, backend));
        Ok(Server { task })
    }
}

fn register(sockets: Sockets) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = std::net::UdpSocket::from(sockets.udp);
    udp.set_nonblocking(true)?;
    let tcp = std::net::TcpListener::from(sockets.tcp);
    tcp.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
}

async fn serve(udp: Arc<UdpSocket>, tcp: TcpListener, backend: Arc<Backend>) {
    let mut queries = JoinSet::new();
    let mut clients = JoinSet::new();
    let mut resume = None;
    loop {
        tokio::select! {
            _ = udp.readable(), if resume.is_none() => {
                if let Err(error) = serve_datagram(&udp, &backend, &mut queries) {
                    tracing::debug!(%error, "a name server's datagram can't be read");
                    resume = Some(Instant::now() + PAUSE);
                }
            }
            accepted = tcp.accept(), if resume.is_none() && clients.len() < MOST_CLIENTS => {
                match accepted {
                    Ok((stream, _)) => {
                        clients.spawn(serve_client(stream, backend.clone()));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a name server's client can't be let in");
                        resume = Some(Instant::now() + PAUSE);
                    }
                }
            }
            Some(_) = queries.join_next(), if !queries.is_empty() => {}
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            () = sleep_until(resume.unwrap_or_else(Instant::now)), if resume.is_some() => resume = None,
        }
    }
}

/// Takes one datagram, if there is one.
fn serve_datagram(
    udp: &Arc<UdpSocket>,
    backend: &Arc<Backend>,
    queries: &mut JoinSet<()>,
) -> io::Result<()> {
    let mut from = None;
    let received = upstream::receive(|buffer| {
        let (length, client) = udp.try_recv_from(buffer)?;
        from = Some(client);
        Ok(length)
    });
    let (query, client) = match (received, from) {
        (Ok(query), Some(client)) => (query, client),
        (Err(error), _) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => return Ok(()),
    };
    match backend.handle(&query, Transport::Udp) {
        Onward::Answered(Some(answer)) => reply(udp, client, &answer),
        Onward::Answered(None) => {}
        Onward::Ask(question) if queries.len() < MOST_QUERIES => {
            queries.spawn(ask_and_reply(
                udp.clone(),
                client,
                question,
                backend.clone(),
            ));
        }
        Onward::Ask(_) => {}
    }
    Ok(())
}

/// A client that has no room for it asks again.
fn reply(udp: &UdpSocket, client: SocketAddr, answer: &[u8]) {
    if let Err(error) = udp.try_send_to(answer, client) {
        tracing::debug!(%error, "a name server's answer can't be sent");
    }
}

async fn ask_and_reply(
    udp: Arc<UdpSocket>,
    client: SocketAddr,
    question: Box<Question>,
    backend: Arc<Backend>,
) {
    if let Some(answer) = backend.ask(question).await {
        reply(&udp, client, &answer);
    }
}

/// Answers a client's queries one after another, as long as it has some.
async fn serve_client(mut stream: TcpStream, backend: Arc<Backend>) {
    while let Ok(Ok(Some(query))) = timeout(IDLE, upstream::read_framed(&mut stream)).await {
        let answer = match backend.handle(&query, Transport::Tcp) {
            Onward::Answered(answer) => answer,
            Onward::Ask(question) => backend.ask(question).await,
        };
        let Some(Ok(answer)) = answer.map(|answer| upstream::framed(&answer)) else {
            return;
        };
        let Ok(Ok(())) = timeout(IDLE, stream.write_all(&answer)).await else {
            return;
        };
    }
}

impl Backend {
    /// What a message leads to. A parser's mistake over a hostile one costs that one.
    fn handle(&self, query: &[u8], transport: Transport) -> Onward {
        catch_unwind(AssertUnwindSafe(|| self.consider(query, transport)))
            .unwrap_or(Onward::Answered(None))
    }

    fn consider(&self, query: &[u8], transport: Transport) -> Onward {
        let asked = match Asked::read(query, transport) {
            Ok(asked) => asked,
            Err(Unanswerable::Refused(answer)) => return Onward::Answered(Some(answer)),
            Err(Unanswerable::Nonsense) => return Onward::Answered(None),
        };
        if let Some(answer) = answer::own(&*self.names, &asked) {
            return Onward::Answered(asked.encode(answer));
        }
        let upstreams = (self.upstreams)();
        self.forwarding
            .consider(asked, &*self.names, upstreams, self.number)
    }

    async fn ask(&self, question: Box<Question>) -> Option<Vec<u8>> {
        self.forwarding.ask(question, &self.netns).await
    }
}
