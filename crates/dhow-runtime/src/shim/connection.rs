//! A daemon's connection: packets to it wait in a queue while it does not read.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use crate::packet::{self, Incoming, Outgoing};
use crate::protocol::{Event, Failure, Reply};

/// A daemon that leaves so many unread has stopped for good.
const MAX_QUEUE: usize = 4096;

pub(super) struct Connection {
    socket: OwnedFd,
    queue: VecDeque<Outgoing<OwnedFd>>,
    pub watched_for_writing: bool,
}

impl Connection {
    /// The socket must not block.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            watched_for_writing: false,
        }
    }

    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    pub fn receive(&self) -> io::Result<Option<Incoming>> {
        packet::receive(&self.socket)
    }

    pub fn reply(&mut self, number: u64, result: Result<Reply, Failure>) -> io::Result<()> {
        self.send(&Event::Reply { number, result })
    }

    /// Replies with descriptors.
    pub fn hand_over(&mut self, number: u64, fds: Vec<OwnedFd>) -> io::Result<()> {
        let result = Ok(Reply::Held);
        self.send_with(&Event::Reply { number, result }, fds)
    }

    /// Sends or queues; an error means that the connection is of no more use.
    pub fn send(&mut self, event: &Event) -> io::Result<()> {
        self.send_with(event, Vec::new())
    }

    fn send_with(&mut self, event: &Event, fds: Vec<OwnedFd>) -> io::Result<()> {
        if self.queue.len() >= MAX_QUEUE {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let packet = Outgoing::new(&serde_json::to_vec(event)?, &[], fds)?;
        self.queue.push_back(packet);
        self.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(packet) = self.queue.front_mut() {
            match packet.send(&self.socket) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
