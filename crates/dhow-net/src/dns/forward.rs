//! Names that are nobody's here: which upstreams are asked, in which order, and what becomes of their answers.
//!
//! Servers are asked as resolv.conf(5) has it: the first, and the next when there is no answer in time, or none that says
//! anything. A client's query over UDP is asked over UDP, one over TCP over TCP: of an answer that was cut short it is told so, and
//! comes again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::sync::Semaphore;

use super::asked::Asked;
use super::cache::{Cache, Key};
use super::upstream::{self, OpenNetns};
use super::{ADDRESS, AskedFrom, Names, Upstream, Upstreams};

/// MAXNS of resolv.conf(5).
const MOST_SERVERS: usize = 3;
/// Queries of all servers of a process that are under way at once: each has a socket. More wait, as long as one server would
/// be waited for.
const MOST_UNDER_WAY: usize = 4096;
/// A line in the log at most so often.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What the servers of a process share: the upstreams' answers, and the bound for how many are asked at once.
#[derive(Clone, Debug)]
pub struct Forwarding {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cache: Cache,
    under_way: Semaphore,
    /// When it was last said that there are too many.
    said: Mutex<Option<Instant>>,
}

impl Default for Forwarding {
    fn default() -> Self {
        Forwarding {
            shared: Arc::new(Shared {
                cache: Cache::default(),
                under_way: Semaphore::new(MOST_UNDER_WAY),
                said: Mutex::new(None),
            }),
        }
    }
}

/// What a query that isn't ours to answer leads to.
pub(super) enum Onward {
    /// It is answered without asking; `None` where nothing can be said.
    Answered(Option<Vec<u8>>),
    Ask(Box<Question>),
}

/// A query with those who are to be asked.
pub(super) struct Question {
    asked: Asked,
    servers: Vec<Upstream>,
    timeout: Duration,
    key: Option<Key>,
}

impl Forwarding {
    /// What can be said at once. `sandbox` tells the sandboxes of this process apart.
    pub(super) fn consider(
        &self,
        asked: Asked,
        names: &dyn Names,
        upstreams: Upstreams,
        sandbox: u64,
    ) -> Onward {
        let address = matches!(asked.query.query_type(), RecordType::A | RecordType::AAAA);
        if address && !upstreams.single_labels && asked.query.name().num_labels() < 2 {
            return Onward::Answered(asked.encode_code(ResponseCode::NoError));
        }
        let servers = servers(upstreams.servers, names.may_forward());
        if servers.is_empty() {
            return Onward::Answered(asked.encode_code(ResponseCode::ServFail));
        }
        let key = Key::new(&asked, &servers, sandbox);
        let known = key
            .as_ref()
            .and_then(|key| self.shared.cache.answer(key, &asked, Instant::now()));
        if let Some(known) = known {
            return Onward::Answered(Some(known));
        }
        Onward::Ask(Box::new(Question {
            asked,
            servers,
            timeout: upstreams.timeout,
            key,
        }))
    }

    /// Asks the upstreams. `None` where nothing can be said.
    pub(super) async fn ask(
        &self,
        question: Box<Question>,
        netns: &Arc<OpenNetns>,
    ) -> Option<Vec<u8>> {
        let Question {
            asked,
            servers,
            timeout,
            key,
        } = *question;
        let turn = tokio::time::timeout(timeout, self.shared.under_way.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            self.shared.say_that_there_are_too_many();
            return asked.encode_code(ResponseCode::Refused);
        };
        for server in servers {
            let answer = upstream::ask(server, &asked, netns);
            let answer = match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    tracing::debug!(server = %server.address, %error, "a name server can't be asked");
                    continue;
                }
                Err(_) => {
                    tracing::debug!(server = %server.address, "a name server does not answer");
                    continue;
                }
            };
            // What another server might do better.
            if matches!(answer.code, ResponseCode::ServFail | ResponseCode::Refused) {
                tracing::debug!(server = %server.address, code = %answer.code, "a name server failed");
                continue;
            }
            if let Some(key) = key {
                self.shared.cache.keep(key, &answer.bytes, Instant::now());
            }
            return Some(answer.bytes);
        }
        asked.encode_code(ResponseCode::ServFail)
    }
}

impl Shared {
    fn say_that_there_are_too_many(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| said.elapsed() > SAID_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(
                most = MOST_UNDER_WAY,
                "so many names are being asked for at once that some queries are refused"
            );
        }
    }
}

fn servers(mut servers: Vec<Upstream>, from_host: bool) -> Vec<Upstream> {
    servers.retain(|server| match server.from {
        AskedFrom::Host => from_host,
        // That would be ourselves.
        AskedFrom::Sandbox => server.address.ip() != ADDRESS,
    });
    servers.truncate(MOST_SERVERS);
    servers
}
