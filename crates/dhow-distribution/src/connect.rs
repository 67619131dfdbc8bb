//! Connections to registries: a TCP connection, directly or through a proxy, with TLS on it or without;
//! or a pipe to the registry in this process.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::config::{Embedded, Insecure, Proxies, host_of, is_loopback};
use crate::endpoint::EMBEDDED;
use crate::names::Names;
use crate::patience::seconds;
use crate::tls::Tls;

type BoxFuture<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Makes connections for the HTTP client.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Shared>);

struct Shared {
    names: Names,
    tls: Tls,
    insecure: Insecure,
    proxies: Matcher,
    embedded: Option<Embedded>,
    timeout: Duration,
}

impl Connector {
    pub fn new(
        tls: Tls,
        insecure: Insecure,
        proxies: &Proxies,
        embedded: Option<Embedded>,
        timeout: Duration,
    ) -> Connector {
        Connector(Arc::new(Shared {
            names: Names::default(),
            tls,
            insecure,
            proxies: matcher(proxies),
            embedded,
            timeout,
        }))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let limit = shared.timeout;
            let host = uri.authority().map(|a| a.to_string()).unwrap_or_default();
            let made = tokio::time::timeout(limit, connect(shared, uri)).await;
            made.map_err(|_| {
                let text = format!(
                    "no connection to {host} within {}: look whether this machine can reach it, and whether it speaks TLS",
                    seconds(limit)
                );
                io::Error::new(io::ErrorKind::TimedOut, text)
            })?
        })
    }
}

/// Proxies as they are set; what is not set is the environment's.
fn matcher(proxies: &Proxies) -> Matcher {
    let variable = |upper: &str| {
        std::env::var(upper)
            .or_else(|_| std::env::var(upper.to_lowercase()))
            .unwrap_or_default()
    };
    let or = |set: &Option<String>, name| set.clone().unwrap_or_else(|| variable(name));
    Matcher::builder()
        .all(variable("ALL_PROXY"))
        .http(or(&proxies.http, "HTTP_PROXY"))
        .https(or(&proxies.https, "HTTPS_PROXY"))
        .no(or(&proxies.no, "NO_PROXY"))
        .build()
}

async fn connect(shared: Arc<Shared>, uri: Uri) -> io::Result<Stream> {
    let authority = uri
        .authority()
        .ok_or_else(|| io::Error::other("the address has no host"))?;
    if let (EMBEDDED, Some(embedded)) = (authority.as_str(), &shared.embedded) {
        return Ok(Stream::Embedded(TokioIo::new((embedded.0)())));
    }
    let secure = uri.scheme_str() == Some("https");
    let proxy = (!is_loopback(authority.as_str()))
        .then(|| shared.proxies.intercept(&uri))
        .flatten();
    let (tcp, proxied) = match proxy {
        None => (dial(&shared.names, &uri).await?, false),
        Some(proxy) if secure => {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), ToProxy(shared.clone()));
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            let tcp = tunnel
                .call(uri.clone())
                .await
                .map_err(|e| io::Error::other(format!("proxy {}: {e}", proxy.uri())))?;
            (tcp, false)
        }
        // The client itself writes requests in the form that is for proxies.
        Some(proxy) => (dial(&shared.names, proxy.uri()).await?, true),
    };
    if !secure {
        return Ok(Stream::Plain { tcp, proxied });
    }
    let host = host_of(authority.as_str());
    let verify = !shared.insecure.contains(authority.as_str());
    let config = shared.tls.config(authority.as_str(), verify)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp.into_inner())
        .await?;
    Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
}

/// A TCP connection to the first address that takes one.
async fn dial(names: &Names, uri: &Uri) -> io::Result<TokioIo<TcpStream>> {
    let authority = uri
        .authority()
        .ok_or_else(|| io::Error::other("the address has no host"))?;
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = authority.port_u16().unwrap_or(default);
    let host = host_of(authority.as_str());
    let mut failure = None;
    for address in names.lookup(host).await? {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                return Ok(TokioIo::new(tcp));
            }
            Err(e) => failure = Some(io::Error::new(e.kind(), format!("dial tcp {address}: {e}"))),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other(format!("lookup {host}: no such host"))))
}

/// Connects to a proxy, for a tunnel through it.
struct ToProxy(Arc<Shared>);

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { dial(&shared.names, &uri).await })
    }
}

/// A connection to a registry.
pub(crate) enum Stream {
    Plain {
        tcp: TokioIo<TcpStream>,
        proxied: bool,
    },
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
    Embedded(TokioIo<DuplexStream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Stream::Plain { proxied, .. } => Connected::new().proxy(*proxied),
            Stream::Tls(_) | Stream::Embedded(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain { tcp, .. } => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::Embedded(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain { tcp, .. } => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::Embedded(pipe) => Pin::new(pipe).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain { tcp, .. } => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Embedded(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain { tcp, .. } => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Embedded(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}
