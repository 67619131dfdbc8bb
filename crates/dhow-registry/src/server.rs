//! Connections: accepted up to a bound, with or without TLS, closed when a client is too slow, finished
//! before the server ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::storage::Storage;
use crate::{Registry, ServeError, tls};

/// What is read from a connection at a time, at most: also the bound of a request's head.
const READ_BUFFER: usize = 128 << 10;
/// For a client in this process, which is not slow on purpose.
const IN_PROCESS_PATIENCE: Duration = Duration::from_secs(600);
const HEADERS_MAX: usize = 100;
/// A pause after the system refused a connection, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a server listens, and its patience.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub address: SocketAddr,
    /// Certificate chain and key, PEM files; plain HTTP without them.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake, for a request's head, and for the next request on an idle connection.
    pub head_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub send_timeout: Duration,
    /// How long requests may go on after the server was told to end.
    pub drain_timeout: Duration,
}

impl ServerConfig {
    pub fn new(address: SocketAddr) -> ServerConfig {
        ServerConfig {
            address,
            tls: None,
            connections: 8192,
            head_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// A server that has its port, and doesn't answer yet.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    config: ServerConfig,
}

impl Server {
    pub async fn bind(config: ServerConfig) -> Result<Server, ServeError> {
        let tls = match &config.tls {
            Some((certificate, key)) => Some(tls::acceptor(certificate, key)?),
            None => None,
        };
        let listener =
            TcpListener::bind(config.address)
                .await
                .map_err(|error| ServeError::Listen {
                    address: config.address,
                    error,
                })?;
        if tls.is_none() && !config.address.ip().is_loopback() {
            tracing::warn!(
                address = %config.address,
                "serving plain HTTP beyond this machine: whoever is on the way can read and change images; use --tls-cert and --tls-key"
            );
        }
        Ok(Server {
            listener,
            tls,
            config,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is ready, then until the requests that are under way are answered.
    pub async fn run<S: Storage>(self, registry: Registry<S>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let stopping = CancellationToken::new();
        let slots = Arc::new(Semaphore::new(self.config.connections));
        let mut connections = JoinSet::new();
        loop {
            let slot = tokio::select! {
                () = &mut stop => break,
                // Never closed.
                slot = slots.clone().acquire_owned() => slot.ok(),
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let connection = connection(
                stream,
                self.tls.clone(),
                registry.clone(),
                self.config.clone(),
                stopping.clone(),
            );
            let span = tracing::debug_span!("connection", %peer);
            connections.spawn(
                async move {
                    let _slot = slot;
                    if let Err(e) = connection.await {
                        tracing::debug!(error = %e, "the connection broke");
                    }
                }
                .instrument(span),
            );
        }
        drop(self.listener);
        stopping.cancel();
        let drained = tokio::time::timeout(self.config.drain_timeout, async {
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "ending with requests under way"
            );
            connections.shutdown().await;
        }
    }
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection over any stream, such as an in-process pipe, until the other side closes it.
pub async fn serve_connection<S: Storage>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    registry: Registry<S>,
) -> io::Result<()> {
    exchange(
        stream,
        registry,
        IN_PROCESS_PATIENCE,
        CancellationToken::new(),
    )
    .await
    .map_err(io::Error::other)
}

async fn connection<S: Storage>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    registry: Registry<S>,
    config: ServerConfig,
    stopping: CancellationToken,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let stream = Patient::new(stream, config.send_timeout);
    match tls {
        None => exchange(stream, registry, config.head_timeout, stopping).await,
        Some(tls) => {
            let stream = tokio::time::timeout(config.head_timeout, tls.accept(stream)).await??;
            exchange(stream, registry, config.head_timeout, stopping).await
        }
    }
}

async fn exchange<S: Storage>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    registry: Registry<S>,
    head_timeout: Duration,
    stopping: CancellationToken,
) -> Result<(), ConnectionError> {
    let service = service_fn(move |request| {
        let registry = registry.clone();
        async move { Ok::<_, std::convert::Infallible>(registry.handle(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(READ_BUFFER)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// A stream whose writes fail if the other side takes nothing for too long.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Patient {
    fn new(stream: TcpStream, patience: Duration) -> Patient {
        let deadline = Box::pin(tokio::time::sleep(patience));
        Patient {
            stream,
            patience,
            deadline,
            waiting: false,
        }
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.stream), cx) {
            self.waiting = false;
            return Poll::Ready(done);
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // How long to wait for bytes depends on what is read: the service and hyper know.
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.bounded(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(cx, |stream, cx| stream.poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
