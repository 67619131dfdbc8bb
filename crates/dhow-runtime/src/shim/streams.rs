//! A process's standard streams: from its pipes or its terminal to the log and to every attached client, and
//! from the clients to its standard input.
//!
//! Output is read only while no client has something left to take: a slow client slows the container down,
//! as with Docker, and a client holds back one piece at most. A client that goes away is dropped, and what
//! else happens to it never reaches the container.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::client::Client;
use super::log::{Log, Server, Stream};
use super::poller::{Poller, Source};
use crate::protocol::AttachStreams;

/// The most that is read at once, a pipe's usual capacity.
pub(super) const PIECE: usize = 64 * 1024;
/// How many pieces are read before others get their turn.
const TURN: usize = 16;

struct Output {
    stream: Stream,
    fd: OwnedFd,
    token: u64,
    watched: bool,
}

struct Input {
    fd: OwnedFd,
    token: u64,
    pending: Vec<u8>,
    /// Nobody has more to say: close when all is written.
    closing: bool,
    watched: bool,
}

pub(super) struct Streams {
    process: u64,
    terminal: bool,
    /// Whether the end of a client's input is the end of standard input.
    stdin_once: bool,
    outputs: Vec<Output>,
    input: Option<Input>,
    clients: Vec<Client>,
    log: Option<Log>,
    /// Of a log that is finished, what its server is still to have.
    last: Option<Server>,
    exited: bool,
    finished: bool,
    /// The end is not to be seen yet: what belongs to it has not been told.
    holding: bool,
}

impl Streams {
    pub fn new(process: u64, terminal: bool, stdin_once: bool, log: Option<Log>) -> Self {
        Self {
            process,
            terminal,
            stdin_once,
            outputs: Vec::new(),
            input: None,
            clients: Vec::new(),
            log,
            last: None,
            exited: false,
            finished: false,
            holding: false,
        }
    }

    /// A pipe's or terminal's end to read; it must not block.
    pub fn add_output(
        &mut self,
        poller: &mut Poller,
        stream: Stream,
        fd: OwnedFd,
    ) -> Result<(), Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let token = poller.name(Source::Output(self.process));
        poller.add(&fd, token, EventFlags::IN)?;
        self.outputs.push(Output {
            stream,
            fd,
            token,
            watched: true,
        });
        Ok(())
    }

    /// A pipe's or terminal's end to write.
    pub fn set_input(&mut self, poller: &mut Poller, fd: OwnedFd) -> Result<(), Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let token = poller.name(Source::Input(self.process));
        self.input = Some(Input {
            fd,
            token,
            pending: Vec::new(),
            closing: false,
            watched: false,
        });
        Ok(())
    }

    pub fn attach(
        &mut self,
        poller: &mut Poller,
        streams: AttachStreams,
        fd: OwnedFd,
    ) -> Result<(), Errno> {
        if self.finished {
            // Dropping the descriptor is the end of the output that was asked for.
            return Ok(());
        }
        rustix::io::ioctl_fionbio(&fd, true)?;
        let token = poller.name(Source::Client(self.process));
        let reading = streams.stdin && self.input.is_some();
        self.clients.push(Client {
            fd,
            token,
            streams,
            pending: Vec::new(),
            reading,
            gone: false,
            watched: None,
        });
        self.update(poller);
        Ok(())
    }

    pub fn close_input(&mut self, poller: &mut Poller) {
        if let Some(input) = &mut self.input {
            input.closing = true;
        }
        self.flush_input(poller);
        self.update(poller);
    }

    /// Takes away all that has been logged; ESRCH where there is no log, or no longer.
    pub fn clear_log(&mut self) -> io::Result<()> {
        let ended = || Err(Errno::SRCH.into());
        self.log.as_mut().map_or_else(ended, Log::clear)
    }

    /// A child of the shim has ended that none of the container's processes is.
    pub fn child_ended(&mut self, pid: i32, code: i32) {
        if let Some(log) = &mut self.log {
            log.child_ended(pid, code);
        }
    }

    /// When [`Streams::tend`] is to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let own = self.log.as_ref().and_then(Log::deadline);
        own.or_else(|| self.last.as_ref()?.deadline())
    }

    pub fn tend(&mut self, poller: &mut Poller) {
        self.tend_server(poller);
        self.update(poller);
    }

    /// Where the log's server is from the next attempt on.
    pub fn set_log_addresses(&mut self, addresses: Vec<SocketAddr>) {
        if let Some(server) = self.server() {
            server.set_addresses(addresses);
        }
    }

    /// Whether the log's server, which has a name, was lost since this was last asked.
    pub fn take_lost_server(&mut self) -> bool {
        self.server().is_some_and(Server::take_lost)
    }

    fn server(&mut self) -> Option<&mut Server> {
        match &mut self.log {
            Some(log) => log.server(),
            None => self.last.as_mut(),
        }
    }

    fn tend_server(&mut self, poller: &mut Poller) {
        if let Some(server) = self.server() {
            server.pump(poller);
        }
        self.last.take_if(|server| {
            let done = server.is_done();
            if done {
                server.end(poller);
            }
            done
        });
    }

    /// The log's server can be written to, or has something to say.
    pub fn server_ready(&mut self, poller: &mut Poller, token: u64, flags: EventFlags) {
        if let Some(server) = self.server() {
            server.ready(poller, token, flags);
        }
        self.tend(poller);
    }

    /// The terminal's controlling end.
    pub fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal
            .then(|| self.outputs.first().map(|output| &output.fd))
            .flatten()
    }

    /// Whether everything has been read, logged and taken.
    pub fn is_done(&self) -> bool {
        self.finished && self.clients.is_empty() && self.last.is_none()
    }

    /// Clients see the end of the output only from now on.
    pub fn let_go(&mut self, poller: &mut Poller) {
        self.holding = false;
        self.update(poller);
    }

    /// The process has ended: reads what is left. What still holds the other end is not waited for. Clients
    /// are kept until [`Streams::let_go`].
    pub fn process_exited(&mut self, poller: &mut Poller, piece: &mut [u8]) {
        self.exited = true;
        self.holding = true;
        if let Some(input) = self.input.take() {
            self.forget_input(poller, input);
        }
        // More than any pipe holds; whatever writes on without end is left to the poller.
        for _ in 0..TURN {
            if self.outputs.is_empty() || self.blocked() {
                break;
            }
            for token in self
                .outputs
                .iter()
                .map(|output| output.token)
                .collect::<Vec<_>>()
            {
                self.read_output(poller, token, piece);
            }
        }
        self.update(poller);
    }

    pub fn output_ready(&mut self, poller: &mut Poller, token: u64, piece: &mut [u8]) {
        self.read_output(poller, token, piece);
        self.update(poller);
    }

    pub fn input_ready(&mut self, poller: &mut Poller) {
        self.flush_input(poller);
        self.update(poller);
    }

    pub fn client_ready(
        &mut self,
        poller: &mut Poller,
        token: u64,
        flags: EventFlags,
        piece: &mut [u8],
    ) {
        let Some(at) = self.clients.iter().position(|client| client.token == token) else {
            return;
        };
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            let client = &mut self.clients[at];
            client.gone = true;
            client.pending = Vec::new();
        }
        if flags.contains(EventFlags::OUT) {
            self.clients[at].flush();
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP)
            && self.clients[at].reading
        {
            self.read_client(poller, at, piece);
        }
        self.update(poller);
    }

    fn blocked(&self) -> bool {
        self.clients.iter().any(|client| !client.pending.is_empty())
            // What is left in the pipes at the end is no more than they hold.
            || !self.exited && self.log.as_ref().is_some_and(Log::is_full)
    }

    fn read_output(&mut self, poller: &mut Poller, token: u64, piece: &mut [u8]) {
        for _ in 0..TURN {
            if self.blocked() {
                return;
            }
            let Some(at) = self.outputs.iter().position(|output| output.token == token) else {
                return;
            };
            // What is left at the end is read at once.
            let room = match &self.log {
                Some(log) if !self.exited => log.room().min(piece.len()),
                _ => piece.len(),
            };
            match rustix::io::read(&self.outputs[at].fd, &mut piece[..room]) {
                Ok(count) if count > 0 => {
                    self.deliver(poller, self.outputs[at].stream, &piece[..count]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.exited => return,
                // The end; of a terminal it is EIO. After the exit an empty pipe is as good.
                _ => {
                    let output = self.outputs.swap_remove(at);
                    poller.forget(output.token);
                    if output.watched {
                        // What is waited for can't be missing.
                        let _ = poller.remove(&output.fd);
                    }
                    return;
                }
            }
        }
    }

    fn deliver(&mut self, poller: &mut Poller, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
            if let Some(server) = log.server() {
                server.pump(poller);
            }
        }
        let header = [stream as u8, 0, 0, 0];
        let length = (bytes.len() as u32).to_be_bytes();
        for client in &mut self.clients {
            let wanted = match stream {
                Stream::Stdout => client.streams.stdout,
                Stream::Stderr => client.streams.stderr,
            };
            if !wanted || client.gone {
                continue;
            }
            if self.terminal {
                client.send(&[bytes]);
            } else {
                client.send(&[&header, &length, bytes]);
            }
        }
    }

    fn read_client(&mut self, poller: &mut Poller, at: usize, piece: &mut [u8]) {
        // Each round is taken by standard input whole before the next: what is pending bounds it.
        while self
            .input
            .as_ref()
            .is_some_and(|input| input.pending.is_empty() && !input.closing)
        {
            match rustix::net::recv(&self.clients[at].fd, &mut *piece, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => {
                    if let Some(input) = &mut self.input {
                        input.pending.extend_from_slice(&piece[..count]);
                    }
                    self.flush_input(poller);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                _ => {
                    self.clients[at].reading = false;
                    if self.stdin_once && !self.terminal {
                        if let Some(input) = &mut self.input {
                            input.closing = true;
                        }
                        self.flush_input(poller);
                    } else {
                        // Docker lets a client go that has nothing more to say, where others may come.
                        self.clients[at].gone = true;
                        self.clients[at].pending = Vec::new();
                    }
                    return;
                }
            }
        }
        if self.input.is_none() {
            // Nobody reads it any more: taken and thrown away, so that the client sees no stall.
            match rustix::net::recv(&self.clients[at].fd, &mut *piece, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => {}
                Err(Errno::AGAIN | Errno::INTR) => {}
                _ => self.clients[at].reading = false,
            }
        }
    }

    fn flush_input(&mut self, poller: &mut Poller) {
        let Some(mut input) = self.input.take() else {
            return;
        };
        let mut written = 0;
        let closed = loop {
            if written == input.pending.len() {
                break input.closing;
            }
            match rustix::io::write(&input.fd, &input.pending[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break false,
                // The process reads no more.
                Err(_) => break true,
            }
        };
        input.pending.drain(..written);
        if input.pending.is_empty() {
            input.pending = Vec::new();
        }
        if closed {
            self.forget_input(poller, input)
        } else {
            self.input = Some(input)
        }
    }

    fn forget_input(&mut self, poller: &mut Poller, input: Input) {
        poller.forget(input.token);
        if input.watched {
            // As for an output.
            let _ = poller.remove(&input.fd);
        }
    }

    /// Brings what is waited for in line with the state, and finds out whether this is the end.
    fn update(&mut self, poller: &mut Poller) {
        if self.exited && self.outputs.is_empty() && !self.finished {
            self.finished = true;
            self.last = self.log.take().and_then(Log::finish);
            self.tend_server(poller);
        }
        let finished = self.finished && !self.holding;
        let input_free = self
            .input
            .as_ref()
            .is_none_or(|input| input.pending.is_empty());
        self.clients.retain_mut(|client| {
            let over = finished && client.pending.is_empty() || client.gone && !client.reading;
            if over || client.watch(poller, input_free).is_err() {
                poller.forget(client.token);
                if client.watched.is_some() {
                    // As for an output.
                    let _ = poller.remove(&client.fd);
                }
                return false;
            }
            true
        });
        let blocked = self.blocked();
        for output in &mut self.outputs {
            if output.watched == blocked {
                // A pipe that is not waited for must leave the set: its end is always reported.
                let result = if blocked {
                    poller.remove(&output.fd)
                } else {
                    poller.add(&output.fd, output.token, EventFlags::IN)
                };
                output.watched = !blocked && result.is_ok();
            }
        }
        if let Some(input) = &mut self.input {
            let wanted = !input.pending.is_empty();
            if wanted != input.watched {
                let result = if wanted {
                    poller.add(&input.fd, input.token, EventFlags::OUT)
                } else {
                    poller.remove(&input.fd)
                };
                input.watched = wanted && result.is_ok();
            }
        }
    }
}
