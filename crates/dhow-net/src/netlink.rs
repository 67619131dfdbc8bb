//! A netlink socket and how messages travel over it, for every netlink family.
//!
//! Invariant: the kernel handles what is sent within the `send` call itself (netlink(7)), so when it returns all the answers to
//! the batch are queued; only dumps go on afterwards. A socket stays in the network namespace that it was opened in, whatever
//! its thread does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::{RecvFlags, SendFlags};

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The largest answer that the kernel puts into one datagram is a page or what the reader asks for, up to 32 KiB.
const RECEIVE: usize = 32 * 1024;

/// One message as the kernel sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// Port of the socket whose request caused it.
    pub port: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram. What doesn't fit ends the iteration: the kernel doesn't send such.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header: [u8; HEADER] = datagram.get(..HEADER)?.try_into().ok()?;
        let [
            l0,
            l1,
            l2,
            l3,
            k0,
            k1,
            f0,
            f1,
            s0,
            s1,
            s2,
            s3,
            p0,
            p1,
            p2,
            p3,
        ] = header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(align(length)..).unwrap_or(&[]);
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        })
    })
}

/// The attributes of a payload (`struct nlattr`): type without its flags, and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(align(length)..).unwrap_or(&[]);
        // NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        Some((u16::from_ne_bytes([head[2], head[3]]) & 0x3fff, value))
    })
}

/// Netlink's four byte alignment.
pub(crate) fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// Messages to be sent in one piece.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    /// How many are in it; their sequence numbers are 1 to this.
    pub count: u32,
    /// Refusals that are as good as success: the message's number and the error's.
    tolerated: Vec<(u32, i32)>,
}

impl Batch {
    /// Starts a message and returns where; `finish` ends it.
    pub fn begin(&mut self, kind: u16, flags: u16) -> usize {
        let start = self.bytes.len();
        self.count += 1;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        start
    }

    /// The message begun last may be refused with this error number.
    pub fn tolerate(&mut self, errno: i32) {
        self.tolerated.push((self.count, errno));
    }

    pub fn finish(&mut self, start: usize) {
        // A batch is far below 4 GiB: the send buffer bounds it.
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

/// What the kernel said no to.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Which of the batch's messages, from 1; 0 when none in particular.
    pub message: u32,
    pub error: io::Error,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal { message: 0, error }
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    /// As large as the largest batch so far needed.
    send_buffer: usize,
    broken: bool,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For what waits until there is something to read.
impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Socket {
    /// A socket of a netlink family in the calling thread's network namespace, subscribed to the multicast groups of `groups`.
    pub fn open(family: libc::c_int, groups: u32) -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers.
        let raw = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                family,
            )
        };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: all zeros is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups = groups;
        // SAFETY: the address is valid for the length given.
        let bound = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = Socket {
            fd,
            buffer: Vec::new(),
            send_buffer: 0,
            broken: false,
        };
        // Without these an error carries the whole request and no words; a kernel that lacks one does without.
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        Ok(socket)
    }

    /// Whether sending or receiving has failed. Answers may have been lost then, or be left for the next who asks: whoever
    /// owns the socket opens another.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    pub fn set_option(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        // SAFETY: the value is valid for the length given.
        let set = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<i32>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The socket's own address, the `port` of messages that its requests cause.
    pub fn port(&self) -> io::Result<u32> {
        // SAFETY: all zeros is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        // SAFETY: both pointers are valid, and length says how much room there is.
        let named = unsafe {
            libc::getsockname(
                self.fd.as_raw_fd(),
                (&raw mut address).cast(),
                &raw mut length,
            )
        };
        if named != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(address.nl_pid)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The kernel takes no datagram that is larger than the send buffer (netlink_sendmsg).
        let needed = bytes.len() + 4096;
        if needed > 128 * 1024 && needed > self.send_buffer {
            let size =
                i32::try_from(needed).map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
            self.set_option(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size)?;
            self.send_buffer = needed;
        }
        let sent = rustix::net::send(&self.fd, bytes, SendFlags::empty()).inspect_err(|error| {
            self.broken = *error != rustix::io::Errno::MSGSIZE;
        })?;
        if sent != bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        Ok(())
    }

    /// One datagram. `None` when there is none and `flags` say not to wait.
    pub fn receive(&mut self, flags: RecvFlags) -> io::Result<Option<&[u8]>> {
        self.buffer.resize(RECEIVE, 0);
        loop {
            match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), flags) {
                Ok((length, _)) => return Ok(Some(&self.buffer[..length])),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => {
                    self.broken = true;
                    return Err(error.into());
                }
            }
        }
    }

    /// Sends the batch and reads all that the kernel answers at once. Messages other than acknowledgements go to `each`; the
    /// first refusal is the result, with the later messages tried all the same (rtnetlink) or all undone (nf_tables).
    pub fn transact(
        &mut self,
        batch: &Batch,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Refusal> {
        self.send(&batch.bytes)?;
        let mut first = None;
        while let Some(datagram) = self.receive(RecvFlags::DONTWAIT)? {
            for message in messages(datagram) {
                match message.kind {
                    NLMSG_ERROR => {
                        let sequence = message.sequence;
                        let refused = refusal(&message).filter(|error| {
                            let number = errno(error).unwrap_or(0);
                            !batch.tolerated.contains(&(sequence, number))
                        });
                        if let Some(error) = refused {
                            first.get_or_insert(Refusal {
                                message: sequence,
                                error,
                            });
                        }
                    }
                    _ => each(message),
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Sends one dump request and reads its answer to the end.
    pub fn dump(
        &mut self,
        request: &Batch,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Refusal> {
        self.send(&request.bytes)?;
        loop {
            let Some(datagram) = self.receive(RecvFlags::empty())? else {
                return Ok(());
            };
            for message in messages(datagram) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match refusal(&message) {
                            Some(error) => Err(Refusal {
                                message: message.sequence,
                                error,
                            }),
                            None => Ok(()),
                        };
                    }
                    _ => each(message),
                }
            }
        }
    }
}

/// The error in an NLMSG_ERROR message, which is none in an acknowledgement.
fn refusal(message: &Message<'_>) -> Option<io::Error> {
    let code = message.payload.get(..4)?.try_into().ok()?;
    let error = match i32::from_ne_bytes(code) {
        0 => return None,
        code => io::Error::from_raw_os_error(-code),
    };
    // The header of the refused message, then words if the kernel had some.
    let words = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| message.payload.get(4 + HEADER..))
        .flatten()
        .and_then(|tlvs| attributes(tlvs).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG))
        .map(|(_, text)| {
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned()
        });
    Some(match words {
        Some(words) => io::Error::new(error.kind(), Worded { error, words }),
        None => error,
    })
}

/// An error number with the kernel's explanation.
#[derive(Debug)]
struct Worded {
    error: io::Error,
    words: String,
}

impl std::fmt::Display for Worded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.error, self.words)
    }
}

impl std::error::Error for Worded {}

/// The error number, also of an error that has words.
pub(crate) fn errno(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        error
            .get_ref()?
            .downcast_ref::<Worded>()?
            .error
            .raw_os_error()
    })
}

#[cfg(test)]
impl Socket {
    /// Puts something else in the descriptor's place, on which no message travels.
    pub fn break_it(&mut self) {
        let other = std::fs::File::open("/dev/null").unwrap();
        rustix::io::dup2(&other, &mut self.fd).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_messages_and_stops_at_the_broken_one() {
        let mut batch = Batch::default();
        for payload in [&b"abcde"[..], b""] {
            let start = batch.begin(7, NLM_F_REQUEST);
            batch.bytes.extend_from_slice(payload);
            batch.finish(start);
        }
        let seen: Vec<_> = messages(&batch.bytes)
            .map(|m| (m.kind, m.sequence, m.payload.to_vec()))
            .collect();
        assert_eq!(seen, [(7, 1, b"abcde".to_vec()), (7, 2, Vec::new())]);
        for cut in 0..batch.bytes.len() {
            assert!(messages(&batch.bytes[..cut]).count() < 2);
        }
        // A length below the header's would never advance.
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
    }
}
