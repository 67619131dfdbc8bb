//! A client that is attached to a process: what it has not taken yet, and what it is waited for.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::poller::Poller;
use crate::protocol::AttachStreams;

pub(super) struct Client {
    pub fd: OwnedFd,
    pub token: u64,
    pub streams: AttachStreams,
    /// What it has not taken yet.
    pub pending: Vec<u8>,
    /// Whether it may still have something for standard input.
    pub reading: bool,
    /// It hung up: nothing more can be sent to it.
    pub gone: bool,
    pub watched: Option<EventFlags>,
}

impl Client {
    /// Sends the parts as one; what does not fit is kept.
    pub fn send(&mut self, parts: &[&[u8]]) {
        let mut skip = 0;
        if self.pending.is_empty() {
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::io::retry_on_intr(|| {
                rustix::net::sendmsg(
                    &self.fd,
                    &slices,
                    &mut SendAncillaryBuffer::default(),
                    flags,
                )
            }) {
                Ok(sent) => skip = sent,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        for part in parts {
            let skipped = skip.min(part.len());
            skip -= skipped;
            self.pending.extend_from_slice(&part[skipped..]);
        }
    }

    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.pending.len() {
            match rustix::net::send(
                &self.fd,
                &self.pending[sent..],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.gone = true;
                    sent = self.pending.len();
                }
            }
        }
        self.pending.drain(..sent);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// A hang-up is always reported, so a client that hung up is waited for only while its input can go on.
    pub fn watch(&mut self, poller: &Poller, input_free: bool) -> Result<(), Errno> {
        let mut flags = EventFlags::empty();
        if self.reading && input_free {
            flags |= EventFlags::IN;
        }
        if !self.pending.is_empty() {
            flags |= EventFlags::OUT;
        }
        let wanted = (!self.gone || !flags.is_empty()).then_some(flags);
        match (self.watched, wanted) {
            (None, Some(flags)) => poller.add(self.fd.as_fd(), self.token, flags)?,
            (Some(now), Some(flags)) if now != flags => {
                poller.modify(self.fd.as_fd(), self.token, flags)?
            }
            (Some(_), None) => poller.remove(self.fd.as_fd())?,
            _ => {}
        }
        self.watched = wanted;
        Ok(())
    }
}
