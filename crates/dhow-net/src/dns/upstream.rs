//! One question to one upstream server, over a socket of its own: its port and the query's id are what an answer must know.
//!
//! Query and answer are the bytes that the other side made, but for the id (RFC 1035, 4.1.1): what a record means, how large an
//! answer may be and which options there are is between client and upstream.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use hickory_proto::op::{Header, MessageType, Query, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

use super::asked::{Asked, Transport};
use super::{AskedFrom, Upstream};

/// Opens the sandbox's network namespace.
pub(super) type OpenNetns = dyn Fn() -> io::Result<OwnedFd> + Send + Sync;

/// An upstream's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub bytes: Vec<u8>,
    pub code: ResponseCode,
}

/// Asks. Has no end of its own when no answer comes.
pub(super) async fn ask(
    upstream: Upstream,
    asked: &Asked,
    netns: &Arc<OpenNetns>,
) -> io::Result<Answer> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let mut query = asked.bytes.clone();
    set_id(&mut query, u16::from_be_bytes(id));
    let id = u16::from_be_bytes(id);
    let mut answer = match asked.transport {
        Transport::Udp => over_udp(upstream, &query, id, &asked.query, netns).await?,
        Transport::Tcp => over_tcp(upstream, &query, id, &asked.query, netns).await?,
    };
    set_id(&mut answer.bytes, asked.metadata.id);
    Ok(answer)
}

/// The id is a message's first two bytes.
fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
}

async fn over_udp(
    upstream: Upstream,
    query: &[u8],
    id: u16,
    question: &Query,
    netns: &Arc<OpenNetns>,
) -> io::Result<Answer> {
    let any = any_address(upstream.address);
    let socket = made(upstream.from, netns, move || {
        let socket = std::net::UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let socket = UdpSocket::from_std(socket.await?)?;
    socket.connect(upstream.address).await?;
    socket.send(query).await?;
    loop {
        socket.readable().await?;
        match receive(|buffer| socket.try_recv(buffer)) {
            Ok(bytes) => {
                // Another's is passed over: the right one may still come.
                if let Some(answer) = read(bytes, id, question) {
                    return Ok(answer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn over_tcp(
    upstream: Upstream,
    query: &[u8],
    id: u16,
    question: &Query,
    netns: &Arc<OpenNetns>,
) -> io::Result<Answer> {
    let ipv4 = upstream.address.is_ipv4();
    let socket = made(upstream.from, netns, move || {
        if ipv4 {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
    });
    let mut stream = socket.await?.connect(upstream.address).await?;
    stream.write_all(&framed(query)?).await?;
    let bytes = read_framed(&mut stream).await?;
    let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
    read(bytes, id, question).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A message of a stream, behind its length (RFC 1035, 4.2.2).
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = Vec::with_capacity(2 + message.len());
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    Ok(bytes)
}

/// The next message of a stream; `None` when it ends instead. Memory is taken for what has come, not for what is announced.
pub(super) async fn read_framed(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = Vec::new();
    stream.take(length as u64).read_to_end(&mut message).await?;
    if message.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

/// A datagram of any size, in just the memory that it needs.
pub(super) fn receive(receive: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = [0; u16::MAX as usize];
    let length = receive(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

/// An answer to this query; `None` if it is none.
fn read(bytes: Vec<u8>, id: u16, question: &Query) -> Option<Answer> {
    let mut decoder = BinDecoder::new(&bytes);
    let header = Header::read(&mut decoder).ok()?;
    if header.metadata.message_type != MessageType::Response || header.metadata.id != id {
        return None;
    }
    let code = header.metadata.response_code;
    match header.counts.queries {
        // A server that could not read the query may not say it again.
        0 if code != ResponseCode::NoError => {}
        1 => {
            let theirs = Query::read(&mut decoder).ok()?;
            if theirs != *question {
                return None;
            }
        }
        _ => return None,
    }
    Some(Answer { bytes, code })
}

fn any_address(to: SocketAddr) -> SocketAddr {
    let ip = if to.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    SocketAddr::new(ip, 0)
}

/// Makes a socket in the network that it is for. In the sandbox's that is done by a thread that ends with it, so that none ever
/// has to find the way back.
async fn made<T: Send + 'static>(
    from: AskedFrom,
    netns: &Arc<OpenNetns>,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if from == AskedFrom::Host {
        return make();
    }
    inside(netns.clone(), make).await
}

fn inside<T: Send + 'static>(
    netns: Arc<OpenNetns>,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> {
    /// It opens two descriptors.
    const STACK: usize = 128 * 1024;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new()
        .name("dns-socket".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let made = netns().and_then(|netns| {
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
                make()
            });
            // Who does not wait any more has no use for it.
            let _ = sender.send(made);
        });
    async move {
        started?;
        receiver
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}
