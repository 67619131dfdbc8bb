//! Connections to a daemon: one type over unix sockets, TCP, TLS and other programs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use dhow_transport::keep_alive;
use hickory_resolver::Resolver;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::command::CommandStream;
use crate::error::Error;
use crate::host::Host;
use crate::tls::TlsOptions;

/// A connection. Shutting down its write side leaves its read side open.
pub(crate) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Command(Box<CommandStream>),
}

impl Connection {
    pub(crate) async fn open(host: &Host, tls: Option<&TlsOptions>) -> Result<Connection, Error> {
        let failed = |source| Error::connect(host.to_string(), source);
        match host {
            Host::Unix(path) => UnixStream::connect(path)
                .await
                .map(Connection::Unix)
                .map_err(failed),
            Host::Tcp { address, .. } => {
                let stream = connect_tcp(address).await.map_err(failed)?;
                // Keystrokes and headers must not wait for acknowledgements.
                stream.set_nodelay(true).map_err(failed)?;
                keep_alive(&stream).map_err(failed)?;
                let Some(tls) = tls else {
                    return Ok(Connection::Tcp(stream));
                };
                let config = tls.client_config(&host.to_string())?;
                let name = address
                    .rsplit_once(':')
                    .map_or(address.as_str(), |(n, _)| n);
                let name = name.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(name.to_owned()).map_err(|source| Error::Tls {
                    host: host.to_string(),
                    source: Box::new(source),
                })?;
                let stream = TlsConnector::from(config)
                    .connect(name, stream)
                    .await
                    .map_err(|source| Error::Tls {
                        host: host.to_string(),
                        source: Box::new(source),
                    })?;
                Ok(Connection::Tls(Box::new(stream)))
            }
            Host::Ssh(ssh) => CommandStream::open("ssh", ssh.arguments())
                .map(|stream| Connection::Command(Box::new(stream)))
                .map_err(failed),
        }
    }
}

/// Connects to the first address that answers. The resolver is needed for names only, as a static
/// binary has no getaddrinfo.
async fn connect_tcp(address: &str) -> io::Result<TcpStream> {
    if let Ok(address) = address.parse::<std::net::SocketAddr>() {
        return TcpStream::connect(address).await;
    }
    let invalid = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("bad address {address}"),
        )
    };
    let (name, port) = address.rsplit_once(':').ok_or_else(invalid)?;
    let port: u16 = port.parse().map_err(|_| invalid())?;
    if name == "localhost" {
        return match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => Ok(stream),
            Err(_) => TcpStream::connect(("::1", port)).await,
        };
    }
    let resolver = Resolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(io::Error::other)?;
    let found = resolver.lookup_ip(name).await.map_err(io::Error::other)?;
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        format!("the name {name} has no address"),
    );
    for ip in found.iter() {
        match TcpStream::connect((ip, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Connection::Unix($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Connection::Tcp($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Connection::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
            Connection::Command($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Connection::Unix(stream) => stream.is_write_vectored(),
            Connection::Tcp(stream) => stream.is_write_vectored(),
            Connection::Tls(stream) => stream.is_write_vectored(),
            Connection::Command(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_host_is_asked_whether_it_is_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::Tcp {
            address: listener.local_addr().unwrap().to_string(),
            base: String::new(),
        };
        let Connection::Tcp(stream) = Connection::open(&host, None).await.unwrap() else {
            panic!("a connection without TLS");
        };
        assert!(rustix::net::sockopt::socket_keepalive(&stream).unwrap());
    }
}
