//! Answers of upstreams, kept for as long as they say (RFC 2181, 8; RFC 2308).
//!
//! Invariant: the cache has at most [`MOST_ENTRIES`] and [`MOST_BYTES`], and an answer is given only to those who would have
//! asked the same servers over the same network: a container can put nothing into another's answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::asked::Asked;
use super::{AskedFrom, Upstream};

const MOST_ENTRIES: usize = 8192;
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// A longer answer is not kept.
const LONGEST_ANSWER: usize = 4096;
/// So long an answer is kept at most: who changes a record may have told nobody to wait for a day.
const LONGEST: Duration = Duration::from_secs(300);
/// And that there is no such name, or record.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(30);
/// What an entry takes beside its answer and its name, about.
const ENTRY_BYTES: usize = 384;

/// What makes two queries the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    servers: Vec<Upstream>,
    /// Whose network they are asked over, unless it is the host's for all of them.
    sandbox: Option<u64>,
    name: Name,
    kind: RecordType,
    /// What the client wants of the answer: EDNS, signatures, no checks of them.
    wants: [bool; 3],
}

impl Key {
    /// `None` for a query whose answer is only for who asks, or may be anything. `servers` are those that are asked,
    /// `sandbox` tells the sandboxes of this process apart.
    pub fn new(asked: &Asked, servers: &[Upstream], sandbox: u64) -> Option<Key> {
        let plain = asked
            .edns
            .as_ref()
            .is_none_or(|edns| edns.options().options.is_empty());
        let single = !matches!(
            asked.query.query_type(),
            RecordType::ANY | RecordType::AXFR | RecordType::IXFR
        );
        let recursive = asked.metadata.recursion_desired;
        if !(plain && single && recursive && asked.query.query_class() == DNSClass::IN) {
            return None;
        }
        let inside = servers.iter().any(|s| s.from == AskedFrom::Sandbox);
        let signed = |edns: &Edns| edns.flags().dnssec_ok;
        Some(Key {
            servers: servers.to_vec(),
            sandbox: inside.then_some(sandbox),
            name: asked.query.name().to_lowercase(),
            kind: asked.query.query_type(),
            wants: [
                asked.edns.is_some(),
                asked.edns.as_ref().is_some_and(signed),
                asked.metadata.checking_disabled,
            ],
        })
    }

    fn size(&self) -> usize {
        ENTRY_BYTES + self.name.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<Key>, Entry>,
    /// Every key once, the one that came first in front.
    order: VecDeque<Arc<Key>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<[u8]>,
    kept_at: Instant,
    until: Instant,
}

impl Cache {
    /// The answer to a query, if one is kept, as that client is to have it.
    pub fn answer(&self, key: &Key, asked: &Asked, now: Instant) -> Option<Vec<u8>> {
        let (answer, kept_at) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = state.entries.get(key)?;
            if entry.until <= now {
                return None;
            }
            (entry.answer.clone(), entry.kept_at)
        };
        let mut message = Message::from_vec(&answer).ok()?;
        message.metadata.authoritative = false;
        let age = now.saturating_duration_since(kept_at).as_secs();
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let sections = message
            .answers
            .iter_mut()
            .chain(&mut message.authorities)
            .chain(&mut message.additionals);
        for record in sections {
            record.decrement_ttl(age);
        }
        let code = message.metadata.response_code;
        asked.encode(asked.address(message, code))
    }

    /// Keeps an upstream's answer, if it may be.
    pub fn keep(&self, key: Key, answer: &[u8], now: Instant) {
        if answer.len() > LONGEST_ANSWER {
            return;
        }
        let lifetime = Message::from_vec(answer).ok().and_then(|m| lifetime(&m));
        let Some(lifetime) = lifetime else { return };
        let entry = Entry {
            answer: answer.into(),
            kept_at: now,
            until: now + lifetime,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.insert(Arc::new(key), entry);
    }
}

impl State {
    fn insert(&mut self, key: Arc<Key>, entry: Entry) {
        self.bytes += entry.answer.len();
        match self.entries.get_mut(&key) {
            Some(old) => {
                self.bytes -= old.answer.len();
                *old = entry;
            }
            None => {
                self.bytes += key.size();
                self.order.push_back(key.clone());
                self.entries.insert(key, entry);
            }
        }
        while self.bytes > MOST_BYTES || self.entries.len() > MOST_ENTRIES {
            let Some(first) = self.order.pop_front() else {
                return;
            };
            if let Some(gone) = self.entries.remove(&first) {
                self.bytes -= gone.answer.len() + first.size();
            }
        }
    }
}

/// How long an answer may be given again; `None` if not at all.
fn lifetime(message: &Message) -> Option<Duration> {
    let positive = match message.metadata.response_code {
        ResponseCode::NoError => true,
        ResponseCode::NXDomain => false,
        _ => return None,
    };
    if message.metadata.truncation {
        return None;
    }
    let asked_for = message.queries.first()?.query_type();
    let answered = message.answers.iter().any(|r| r.record_type() == asked_for);
    let ttl = message.answers.iter().map(|record| record.ttl).min();
    let (ttl, most) = if positive && answered {
        (ttl?, LONGEST)
    } else {
        // Without this record nobody says for how long there is none (RFC 2308, 5).
        let none = message.authorities.iter().find_map(|r| match &r.data {
            RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
            _ => None,
        })?;
        (ttl.map_or(none, |ttl| ttl.min(none)), LONGEST_NEGATIVE)
    };
    (ttl > 0).then(|| Duration::from_secs(ttl.into()).min(most))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::TXT;

    use super::super::asked::Transport;
    use super::*;

    fn asked(name: &str) -> Asked {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        let name = Name::from_ascii(name).unwrap();
        query.add_query(Query::query(name, RecordType::TXT));
        Asked::read(&query.to_vec().unwrap(), Transport::Tcp).unwrap()
    }

    fn answer(asked: &Asked, length: usize) -> Vec<u8> {
        let mut answer = Message::response(0, OpCode::Query);
        answer.add_query(asked.query.clone());
        let name = asked.query.name().clone();
        for _ in 0..length / 200 {
            let text = TXT::new(vec!["x".repeat(180)]);
            answer.add_answer(Record::from_rdata(name.clone(), 60, RData::TXT(text)));
        }
        answer.to_vec().unwrap()
    }

    #[test]
    fn it_is_as_large_as_it_may_be() {
        for (length, count) in [(200, 20_000), (3000, 3000)] {
            let cache = Cache::default();
            let now = Instant::now();
            for n in 0..count {
                let asked = asked(&format!("n{n}.example."));
                let key = Key::new(&asked, &[], 0).unwrap();
                let bytes = answer(&asked, length);
                for _ in 0..2 {
                    cache.keep(key.clone(), &bytes, now);
                }
                assert!(cache.answer(&key, &asked, now).is_some());
                let later = now + Duration::from_secs(60);
                assert!(cache.answer(&key, &asked, later).is_none());
            }
            let state = cache.state.lock().unwrap();
            let entries = state.entries.len();
            assert!(entries <= MOST_ENTRIES && state.bytes <= MOST_BYTES);
            assert!(entries == MOST_ENTRIES || state.bytes > MOST_BYTES - 8192);
            assert_eq!(state.order.len(), entries);
            let bytes: usize = state
                .entries
                .iter()
                .map(|(key, entry)| key.size() + entry.answer.len())
                .sum();
            assert_eq!(bytes, state.bytes);
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let cache = Cache::default();
        let asked = asked("long.example.");
        let key = Key::new(&asked, &[], 0).unwrap();
        let bytes = answer(&asked, 2 * LONGEST_ANSWER);
        cache.keep(key.clone(), &bytes, Instant::now());
        assert!(cache.answer(&key, &asked, Instant::now()).is_none());
    }
}
