//! The daemons' connections: usually one, none while no daemon is there.

use std::io;

use rustix::event::epoll::EventFlags;

use super::Shim;
use super::connection::Connection;
use super::launches::Asker;
use super::poller::Source;
use crate::packet::Incoming;
use crate::protocol::{Failure, NotUnderstood, Request};

impl Shim {
    pub(super) fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener, flags) {
            Ok(socket) => self.add_connection(Connection::new(socket)),
            // Whoever called has gone again, or there is no descriptor left just now.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn add_connection(&mut self, connection: Connection) -> io::Result<()> {
        let token = self.poller.name(Source::Connection);
        self.poller
            .add(connection.socket(), token, EventFlags::IN)?;
        self.connections.insert(token, connection);
        Ok(())
    }

    /// Does something with a connection, and lets it go when that fails.
    pub(super) fn use_connection(
        &mut self,
        token: u64,
        act: impl FnOnce(&mut Connection) -> io::Result<()>,
    ) {
        let Some(connection) = self.connections.get_mut(&token) else {
            return;
        };
        let mut result = act(connection);
        if result.is_ok() && connection.has_queue() != connection.watched_for_writing {
            connection.watched_for_writing = connection.has_queue();
            let flags = if connection.has_queue() {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            result = self
                .poller
                .modify(connection.socket(), token, flags)
                .map_err(Into::into);
        }
        if result.is_err() {
            self.drop_connection(token);
        }
    }

    pub(super) fn drop_connection(&mut self, token: u64) {
        if let Some(connection) = self.connections.remove(&token) {
            // What is waited for can't be missing.
            let _ = self.poller.remove(connection.socket());
        }
        self.poller.forget(token);
    }

    pub(super) fn connection_ready(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.use_connection(token, Connection::flush);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let Some(connection) = self.connections.get(&token) else {
            return;
        };
        let packet = match connection.receive() {
            Ok(Some(packet)) => packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(None) | Err(_) => return self.drop_connection(token),
        };
        let Incoming { json, fds, .. } = packet;
        let Request { number, command } = match Request::parse(&json) {
            Ok(request) => request,
            Err(NotUnderstood::Command { number }) => {
                let unknown = Err(Failure::Os(libc::ENOSYS));
                return self.use_connection(token, |connection| connection.reply(number, unknown));
            }
            Err(NotUnderstood::Nothing) => return self.drop_connection(token),
        };
        let asker = Asker {
            connection: token,
            number,
        };
        if let Some(result) = self.command(asker, command, fds) {
            self.use_connection(token, |connection| connection.reply(number, result));
        }
    }
}
