//! Packets over SOCK_SEQPACKET sockets: a JSON part, a binary part and file descriptors.
//!
//! A datagram of a unix socket is bounded by the send buffer, and its descriptors by SCM_MAX_FD (253). A
//! packet's parts that do not fit one datagram therefore travel in a memfd, and its further descriptors in
//! datagrams that follow the first; a packet is still received whole or not at all.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Bodies larger than this travel in a memfd; well below the smallest usual send buffer (212,992 bytes).
const MAX_INLINE: usize = 32 * 1024;
/// Descriptors in one datagram; the kernel's SCM_MAX_FD is 253.
const MAX_FDS: usize = 128;
/// An upper bound for what a packet may hold, against a peer gone wrong.
const MAX_BODY: usize = 64 * 1024 * 1024;
const MAX_TOTAL_FDS: usize = 16 * 1024;
const HEADER: usize = 16;
/// How long a packet's further datagrams are waited for. They are sent one after another: a peer that does not
/// come to that has been stopped, or is none.
const REST_PATIENCE: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inline = 1,
    Memfd = 2,
    MoreFds = 3,
}

/// A packet made ready: the datagrams to send one after another, with nothing of another packet between. Its descriptors are
/// borrowed, or its own if it has to wait.
pub(crate) struct Outgoing<F> {
    body: Vec<u8>,
    memfd: Option<OwnedFd>,
    fds: Vec<F>,
    sent_fds: usize,
    first: bool,
}

impl<F: AsFd> Outgoing<F> {
    pub fn new(json: &[u8], blob: &[u8], fds: Vec<F>) -> io::Result<Self> {
        let mut body = Vec::with_capacity(HEADER + json.len() + blob.len());
        let large = json.len() + blob.len() > MAX_INLINE;
        let kind = if large { Kind::Memfd } else { Kind::Inline };
        body.extend_from_slice(&(kind as u32).to_le_bytes());
        body.extend_from_slice(&(fds.len() as u32).to_le_bytes());
        body.extend_from_slice(&(json.len() as u32).to_le_bytes());
        body.extend_from_slice(&(blob.len() as u32).to_le_bytes());
        let memfd = if large {
            let mut file = std::fs::File::from(rustix::fs::memfd_create(
                "dhow-packet",
                MemfdFlags::CLOEXEC,
            )?);
            file.write_all(json)?;
            file.write_all(blob)?;
            Some(OwnedFd::from(file))
        } else {
            body.extend_from_slice(json);
            body.extend_from_slice(blob);
            None
        };
        Ok(Self {
            body,
            memfd,
            fds,
            sent_fds: 0,
            first: true,
        })
    }

    /// Sends the datagrams that are left. After `WouldBlock`, call again when the socket is writable.
    pub fn send(&mut self, socket: impl AsFd) -> io::Result<()> {
        let socket = socket.as_fd();
        while self.first || self.sent_fds < self.fds.len() {
            let end = self.fds.len().min(self.sent_fds + MAX_FDS);
            let batch: Vec<_> = self.fds[self.sent_fds..end].iter().map(F::as_fd).collect();
            if self.first {
                let mut with_memfd: Vec<BorrowedFd<'_>> = Vec::with_capacity(batch.len() + 1);
                with_memfd.extend(self.memfd.as_ref().map(AsFd::as_fd));
                with_memfd.extend_from_slice(&batch);
                send_datagram(socket, &self.body, &with_memfd)?;
            } else {
                let mut header = [0u8; HEADER];
                header[..4].copy_from_slice(&(Kind::MoreFds as u32).to_le_bytes());
                send_datagram(socket, &header, &batch)?;
            }
            self.sent_fds += batch.len();
            self.first = false;
        }
        Ok(())
    }
}

impl<F> Outgoing<F> {
    /// Whether some of its datagrams have been sent and others have not.
    pub fn is_half_sent(&self) -> bool {
        !self.first && self.sent_fds < self.fds.len()
    }
}

fn send_datagram(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// A packet as it came.
pub(crate) struct Incoming {
    pub json: Vec<u8>,
    pub blob: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Receives one packet; `None` is the end of the connection. On a socket that does not block, `WouldBlock`
/// comes only before a packet; within one, its further datagrams are waited for.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<Incoming>> {
    let socket = socket.as_fd();
    let mut fds = Vec::new();
    let mut buffer = vec![0u8; HEADER + MAX_INLINE];
    let length = receive_datagram(socket, &mut buffer, &mut fds)?;
    if length == 0 {
        return Ok(None);
    }
    let word = |at: usize| {
        u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
    };
    if length < HEADER {
        return Err(broken("a datagram is shorter than its header"));
    }
    let (kind, count, json_len, blob_len) = (
        word(0),
        word(4) as usize,
        word(8) as usize,
        word(12) as usize,
    );
    if count > MAX_TOTAL_FDS || json_len > MAX_BODY || blob_len > MAX_BODY {
        return Err(broken("a packet is larger than any should be"));
    }
    let (json, blob) = if kind == Kind::Inline as u32 {
        if length != HEADER + json_len + blob_len {
            return Err(broken("a packet's length is not what its header says"));
        }
        let blob = buffer[HEADER + json_len..length].to_vec();
        buffer.truncate(HEADER + json_len);
        (buffer.split_off(HEADER), blob)
    } else if kind == Kind::Memfd as u32 && !fds.is_empty() {
        let mut file = std::fs::File::from(fds.remove(0));
        file.rewind()?;
        let mut json = vec![0; json_len];
        file.read_exact(&mut json)?;
        let mut blob = vec![0; blob_len];
        file.read_exact(&mut blob)?;
        (json, blob)
    } else {
        return Err(broken("a packet starts with an unknown kind of datagram"));
    };
    while fds.len() < count {
        let ready = rustix::io::retry_on_intr(|| {
            rustix::event::poll(
                &mut [PollFd::new(&socket, PollFlags::IN)],
                Some(&REST_PATIENCE),
            )
        })?;
        if ready == 0 {
            return Err(broken("the rest of a packet did not come"));
        }
        let mut header = [0u8; HEADER];
        let before = fds.len();
        let length = receive_datagram(socket, &mut header, &mut fds)?;
        if length != HEADER
            || header[..4] != (Kind::MoreFds as u32).to_le_bytes()
            || fds.len() == before
        {
            return Err(broken("a packet's descriptors are missing"));
        }
    }
    Ok(Some(Incoming { json, blob, fds }))
}

fn receive_datagram(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = received {
            fds.extend(rights);
        }
    }
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(broken("a datagram was cut short"));
    }
    Ok(message.bytes)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    #[test]
    fn small_and_large_bodies_arrive_whole() {
        let (a, b) = pair();
        for size in [0, 1, MAX_INLINE, MAX_INLINE + 1, 3_000_000] {
            let json = vec![b'j'; size];
            Outgoing::<OwnedFd>::new(&json, b"blob", Vec::new())
                .unwrap()
                .send(&a)
                .unwrap();
            let incoming = receive(&b).unwrap().unwrap();
            assert_eq!(incoming.json, json);
            assert_eq!(incoming.blob, b"blob");
            assert!(incoming.fds.is_empty());
        }
        drop(a);
        assert!(receive(&b).unwrap().is_none());
    }

    #[test]
    fn more_descriptors_than_one_datagram_carries() {
        let (a, b) = pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (count, size) in [
            (1, 10),
            (MAX_FDS, 10),
            (MAX_FDS + 1, 10),
            (600, MAX_INLINE + 1),
        ] {
            let fds = vec![file.as_fd(); count];
            let json = vec![b'j'; size];
            Outgoing::new(&json, &[], fds).unwrap().send(&a).unwrap();
            let incoming = receive(&b).unwrap().unwrap();
            assert_eq!(incoming.fds.len(), count);
            assert_eq!(incoming.json.len(), size);
        }
    }

    #[test]
    fn the_rest_of_a_packet_is_not_waited_for_without_end() {
        let (a, b) = pair();
        let mut header = [0u8; HEADER];
        header[..4].copy_from_slice(&(Kind::Inline as u32).to_le_bytes());
        header[4..8].copy_from_slice(&1u32.to_le_bytes());
        rustix::net::send(&a, &header, SendFlags::empty()).unwrap();
        assert!(receive(&b).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let (a, b) = pair();
        rustix::net::send(&a, b"short", SendFlags::empty()).unwrap();
        assert!(receive(&b).is_err());
        rustix::net::send(&a, &[0xffu8; HEADER], SendFlags::empty()).unwrap();
        assert!(receive(&b).is_err());
    }
}
