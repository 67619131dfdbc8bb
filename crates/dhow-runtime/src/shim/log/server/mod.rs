//! The server that a container's entries go to, beside its file.
//!
//! A server that is away, or that takes nothing, holds no container up: entries wait for it in memory, up to
//! a bound, and what does not fit is counted and said in its place once there is room. Only where the driver's
//! mode is `blocking`, and the server takes entries more slowly than they come, the container waits, as it would
//! for a reader of its pipe.

mod journald;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::epoll::EventFlags;

use self::syslog::Syslog;
use self::wire::{Taken, Wire};
use super::entry::{Entry, Stream};
use crate::protocol::{LogAddress, LogDialect, LogServer};
use crate::shim::poller::{Poller, Source};

/// How long a server that is there may take nothing until entries are dropped.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(16));
/// How long the server may take nothing after the container's end until what is left is given up.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// How many bytes may wait beyond the bound, of what a container whose process has ended left in its pipes:
/// that is lines of a usual length, if the container waits for the server.
const LAST_BYTES: usize = 16 << 20;
/// The least that is read at once of a container that waits for the server.
const LEAST_ROOM: usize = 64;

/// A part of a line that is longer than an entry.
#[derive(Clone, Copy, Debug)]
pub(in crate::shim::log) struct Part {
    /// From 1.
    pub ordinal: u32,
    pub last: bool,
    /// All parts of a line have the same.
    pub line: Timestamp,
}

pub(crate) struct Server {
    dialect: Dialect,
    address: LogAddress,
    patient: bool,
    bound: usize,
    /// Messages that wait, and the memory that they take.
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// The most that an entry took beyond its text.
    overhead: usize,
    /// Entries that found no room, since one last did.
    dropped: u64,
    /// How many entries there were.
    ordinal: u64,
    /// Distinguishes this run's numbers of entries from those of other runs.
    epoch: String,
    state: State,
    failures: u32,
    /// When the server last took something.
    progress: Instant,
    /// It has taken nothing for too long.
    stalled: bool,
    /// The end of the patience with it, after the container's end.
    closing: Option<Instant>,
    /// It was lost, and has a name that may mean another address by now.
    lost: bool,
}

enum Dialect {
    Syslog(Syslog),
    Journald(Vec<(String, String)>),
}

enum State {
    Idle,
    /// Until it is tried again.
    Away(Instant),
    /// Up to when; an encrypted connection is only made once it is agreed on.
    Connecting(Line, Instant),
    Connected(Line),
}

/// A connection, and what it is waited for.
struct Line {
    wire: Wire,
    /// Whether the other end has taken the connection.
    taken: bool,
    token: u64,
    watched: Option<EventFlags>,
}

impl Server {
    pub fn new(server: &LogServer) -> Self {
        Self {
            dialect: match &server.dialect {
                LogDialect::Syslog {
                    format,
                    facility,
                    tag,
                    counted,
                } => Dialect::Syslog(Syslog::new(*format, *facility, tag, *counted)),
                LogDialect::Journald { fields } => Dialect::Journald(fields.clone()),
            },
            address: server.address.clone(),
            patient: server.patient,
            bound: usize::try_from(server.buffer).unwrap_or(usize::MAX),
            queue: VecDeque::new(),
            queued: 0,
            overhead: match &server.dialect {
                LogDialect::Syslog { tag, .. } => 2 * tag.len() + 256,
                LogDialect::Journald { fields } => journald::overhead(fields),
            },
            dropped: 0,
            ordinal: 0,
            epoch: format!(
                "{:016x}{:016x}",
                std::process::id(),
                Timestamp::now().as_nanosecond()
            ),
            state: State::Idle,
            failures: 0,
            progress: Instant::now(),
            stalled: false,
            closing: None,
            lost: false,
        }
    }

    /// Where it is from the next attempt on.
    pub fn set_addresses(&mut self, addresses: Vec<SocketAddr>) {
        if let Some(host) = self.address.host_mut()
            && !addresses.is_empty()
        {
            host.addresses = addresses;
        }
    }

    /// Whether it was lost since this was last asked, and may be elsewhere.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Takes an entry; it is sent by the next [`Server::pump`].
    pub(in crate::shim::log) fn take(&mut self, entry: &Entry<'_>, part: Option<Part>) {
        let bound = match self.waits() {
            true => self.bound.saturating_add(LAST_BYTES),
            false => self.bound,
        };
        if self.queued + entry.text.len() > bound && !self.queue.is_empty() {
            self.dropped += 1;
            return;
        }
        self.mark();
        self.push(entry, part);
    }

    /// Says how many entries are missing here.
    fn mark(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text = format!(
                "[dhow: {dropped} log entries are missing here, the log server did not take them in time]"
            );
            let marker = Entry {
                stream: Stream::Stderr,
                time: Timestamp::now(),
                text: text.as_bytes(),
            };
            self.push(&marker, None);
        }
    }

    fn push(&mut self, entry: &Entry<'_>, part: Option<Part>) {
        let text = entry.text.strip_suffix(b"\n").unwrap_or(entry.text);
        let message = match &mut self.dialect {
            // Servers have no use for a message without a text.
            Dialect::Syslog(_) if text.is_empty() => return,
            Dialect::Syslog(syslog) => syslog.message(entry, text),
            Dialect::Journald(fields) => {
                self.ordinal += 1;
                let own = journald::Own {
                    epoch: &self.epoch,
                    ordinal: self.ordinal,
                    part,
                };
                journald::message(fields, own, entry, text)
            }
        };
        let taken = memory(&message);
        self.overhead = self.overhead.max(taken.saturating_sub(text.len()));
        self.queued += taken;
        self.queue.push_back(message);
    }

    /// Whether the container is to wait: the server takes entries, but not fast enough.
    pub fn is_full(&self) -> bool {
        self.queued >= self.bound && self.waits()
    }

    /// How much output may come until [`Server::is_full`] is asked again: each byte may be a line.
    pub fn room(&self) -> usize {
        if !self.waits() {
            return usize::MAX;
        }
        (self.bound.saturating_sub(self.queued) / (self.overhead + 1)).max(LEAST_ROOM)
    }

    fn waits(&self) -> bool {
        self.patient && matches!(self.state, State::Connected(_)) && !self.stalled
    }

    /// The container has ended: what is left is sent, if that can be done soon.
    pub fn close(&mut self) {
        self.mark();
        self.closing = Some(Instant::now() + LAST_PATIENCE);
        // One that was away is tried once more.
        if let State::Away(_) = self.state {
            self.state = State::Idle;
        }
    }

    pub fn is_done(&self) -> bool {
        self.closing.is_some() && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && match &self.state {
                State::Connected(line) => !line.wire.has_rest(),
                _ => true,
            }
    }

    /// When [`Server::pump`] is to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Idle => None,
            State::Away(until) => (!self.queue.is_empty()).then_some(*until),
            State::Connecting(_, until) => Some(*until),
            State::Connected(_) => (self.is_full()).then(|| self.progress + PATIENCE),
        };
        own.into_iter().chain(self.closing).min()
    }

    /// The connection can be written to, or has something to say.
    pub fn ready(&mut self, poller: &mut Poller, token: u64, flags: EventFlags) {
        let result = match &mut self.state {
            State::Connecting(line, _) if line.token == token && !line.taken => {
                line.taken = true;
                line.wire.connected()
            }
            State::Connecting(line, _) | State::Connected(line) if line.token == token => {
                line.wire.heard(flags)
            }
            _ => return,
        };
        match (result, std::mem::replace(&mut self.state, State::Idle)) {
            (Ok(()), State::Connecting(line, until)) => self.connected(line, until),
            (Ok(()), state) => self.state = state,
            (Err(_), State::Connecting(line, _) | State::Connected(line)) => {
                self.lost(poller, Some(line));
            }
            (Err(_), _) => {}
        }
        self.pump(poller);
    }

    fn connected(&mut self, line: Line, until: Instant) {
        if !line.taken || !line.wire.is_open() {
            self.state = State::Connecting(line, until);
            return;
        }
        self.progress = Instant::now();
        self.stalled = false;
        self.state = State::Connected(line);
    }

    /// Does what can be done now: connects, and sends what waits.
    pub fn pump(&mut self, poller: &mut Poller) {
        let now = Instant::now();
        if self.closing.is_some_and(|end| now >= end) {
            return self.end(poller);
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Away(until) if now < until => self.state = State::Away(until),
            State::Connecting(line, until) if now >= until => self.lost(poller, Some(line)),
            State::Away(_) => {}
            state => self.state = state,
        }
        if matches!(self.state, State::Idle) && !self.queue.is_empty() {
            self.connect(poller);
        }
        if let State::Connecting(line, _) = &mut self.state
            && line.taken
            && line.wire.flush().is_err()
            && let State::Connecting(line, _) = std::mem::replace(&mut self.state, State::Idle)
        {
            self.lost(poller, Some(line));
        }
        if let State::Connected(line) = &mut self.state {
            match send(line, &mut self.queue, &mut self.queued, &mut self.dropped) {
                Ok(true) => {
                    self.progress = Instant::now();
                    self.stalled = false;
                    self.failures = 0;
                    if let Some(end) = &mut self.closing {
                        *end = now + LAST_PATIENCE;
                    }
                    // Said as soon as there is room again. Where nothing was taken, this would not be either.
                    if self.queued <= self.bound / 2 {
                        self.mark();
                    }
                }
                Ok(false) => {
                    self.stalled |= self.queued >= self.bound && self.progress + PATIENCE <= now;
                }
                Err(_) => {
                    if let State::Connected(line) = std::mem::replace(&mut self.state, State::Idle)
                    {
                        self.lost(poller, Some(line));
                    }
                }
            }
        }
        if self.watch(poller).is_err() {
            let state = std::mem::replace(&mut self.state, State::Idle);
            if let State::Connecting(line, _) | State::Connected(line) = state {
                self.lost(poller, Some(line));
            }
        }
    }

    fn connect(&mut self, poller: &mut Poller) {
        match Wire::connect(&self.address, self.failures) {
            Ok((wire, done)) => {
                let line = Line {
                    wire,
                    taken: done,
                    token: poller.name(Source::LogServer),
                    watched: None,
                };
                self.connected(line, Instant::now() + CONNECT_PATIENCE);
            }
            Err(_) => self.lost(poller, None),
        }
    }

    /// The server is away: it is tried again, unless the container has ended.
    fn lost(&mut self, poller: &mut Poller, line: Option<Line>) {
        if let Some(line) = line {
            line.end(poller);
        }
        let (first, most) = RETRY;
        let wait = first.saturating_mul(1 << self.failures.min(8)).min(most);
        self.failures += 1;
        self.lost =
            self.closing.is_none() && self.address.host_mut().is_some_and(|host| host.has_name());
        self.state = State::Away(Instant::now() + wait);
        if self.closing.is_some() {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        self.queue = VecDeque::new();
        self.queued = 0;
    }

    /// Lets the server go, with what it has not taken.
    pub fn end(&mut self, poller: &mut Poller) {
        self.give_up();
        let state = std::mem::replace(&mut self.state, State::Idle);
        if let State::Connecting(line, _) | State::Connected(line) = state {
            line.end(poller);
        }
    }

    fn watch(&mut self, poller: &Poller) -> Result<(), rustix::io::Errno> {
        let waiting = !self.queue.is_empty();
        match &mut self.state {
            State::Connecting(line, _) if !line.taken => line.watch(poller, Some(EventFlags::OUT)),
            State::Connecting(line, _) => {
                let flags = line.wire.interest();
                line.watch(poller, (!flags.is_empty()).then_some(flags))
            }
            State::Connected(line) => {
                let mut flags = line.wire.interest();
                if waiting && line.wire.is_open() || line.wire.has_rest() {
                    flags |= EventFlags::OUT;
                }
                line.watch(poller, (!flags.is_empty()).then_some(flags))
            }
            _ => Ok(()),
        }
    }
}

/// What a message takes while it waits.
fn memory(message: &Vec<u8>) -> usize {
    message.capacity() + size_of::<Vec<u8>>()
}

/// Sends what the server takes now. Returns whether that was anything.
fn send(
    line: &mut Line,
    queue: &mut VecDeque<Vec<u8>>,
    queued: &mut usize,
    dropped: &mut u64,
) -> io::Result<bool> {
    let mut progress = false;
    while let Some(message) = queue.front() {
        match line.wire.send(message)? {
            Taken::Whole => progress = true,
            Taken::TooLong => *dropped += 1,
            Taken::Part => progress = true,
            Taken::Nothing => return Ok(progress),
        }
        if !line.wire.is_within() {
            *queued -= memory(message);
            queue.pop_front();
        }
    }
    line.wire.flush()?;
    Ok(progress)
}

impl Line {
    fn watch(
        &mut self,
        poller: &Poller,
        wanted: Option<EventFlags>,
    ) -> Result<(), rustix::io::Errno> {
        match (self.watched, wanted) {
            (None, Some(flags)) => poller.add(self.wire.fd(), self.token, flags)?,
            (Some(now), Some(flags)) if now != flags => {
                poller.modify(self.wire.fd(), self.token, flags)?;
            }
            (Some(_), None) => poller.remove(self.wire.fd())?,
            _ => {}
        }
        self.watched = wanted;
        Ok(())
    }

    fn end(mut self, poller: &mut Poller) {
        self.wire.close();
        poller.forget(self.token);
        if self.watched.is_some() {
            // What is waited for can't be missing.
            let _ = poller.remove(self.wire.fd());
        }
    }
}
