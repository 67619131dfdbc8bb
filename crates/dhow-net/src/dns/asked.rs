//! A query as it came, and the messages that answer it.
//!
//! Invariant: what is refused here was a query with an id to answer to; what is no query gets no answer, so that nobody can
//! make two servers talk to each other for ever.

use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// What we take in one UDP datagram, as RFC 6891, 6.2.5 and the flag day of 2020 advise.
const OUR_PAYLOAD: u16 = 1232;
/// What a client takes in one that says nothing of it (RFC 1035, 4.2.1).
const PLAIN_PAYLOAD: u16 = 512;
/// Length of a question's name in text.
const LONGEST_NAME: usize = 255;

/// How a query came, and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A query that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As it came.
    pub bytes: Vec<u8>,
    pub metadata: Metadata,
    pub query: Query,
    pub edns: Option<Edns>,
    pub transport: Transport,
}

/// What can't be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// It is no query.
    Nonsense,
    /// It gets this message.
    Refused(Vec<u8>),
}

impl Asked {
    pub fn read(bytes: &[u8], transport: Transport) -> Result<Asked, Unanswerable> {
        let header = Header::read(&mut BinDecoder::new(bytes));
        let header = header.map_err(|_| Unanswerable::Nonsense)?;
        if header.metadata.message_type != MessageType::Query {
            return Err(Unanswerable::Nonsense);
        }
        let refused = |code| refusal(&header.metadata, code);
        if header.metadata.op_code != OpCode::Query {
            return Err(refused(ResponseCode::NotImp));
        }
        // More than one is in no server's vocabulary (RFC 9619).
        if header.counts.queries != 1 {
            return Err(refused(ResponseCode::FormErr));
        }
        let message = Message::from_vec(bytes).map_err(|_| refused(ResponseCode::FormErr))?;
        let Some(query) = message.queries.into_iter().next() else {
            return Err(refused(ResponseCode::FormErr));
        };
        let asked = Asked {
            bytes: bytes.to_vec(),
            metadata: header.metadata,
            query,
            edns: message.edns,
            transport,
        };
        if asked.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            let answer = asked.answer(ResponseCode::BADVERS, Vec::new());
            return Err(
                encode(answer, asked.limit()).map_or(Unanswerable::Nonsense, Unanswerable::Refused)
            );
        }
        Ok(asked)
    }

    /// The name in lower case without the final dot; `None` if it is the root's, or one that no text means.
    pub fn name(&self) -> Option<String> {
        let mut name = String::with_capacity(LONGEST_NAME);
        for label in self.query.name().iter() {
            let label = std::str::from_utf8(label).ok()?;
            if label.contains('.') {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(label);
        }
        name.make_ascii_lowercase();
        (!name.is_empty()).then_some(name)
    }

    /// The largest message that the client takes.
    pub fn limit(&self) -> usize {
        match self.transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => {
                let offered = self.edns.as_ref().map_or(0, Edns::max_payload);
                usize::from(offered.max(PLAIN_PAYLOAD))
            }
        }
    }

    pub fn answer(&self, code: ResponseCode, answers: Vec<Record>) -> Message {
        let mut message = Message::response(self.metadata.id, self.metadata.op_code);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.answers = answers;
        self.address(message, code)
    }

    /// Makes a message an answer to this query.
    pub fn address(&self, mut message: Message, code: ResponseCode) -> Message {
        message.metadata.id = self.metadata.id;
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.queries = vec![self.query.clone()];
        message.edns = self.edns.as_ref().map(|theirs| {
            let mut ours = Edns::new();
            ours.set_max_payload(OUR_PAYLOAD);
            ours.set_dnssec_ok(theirs.flags().dnssec_ok);
            ours
        });
        message
    }

    /// The bytes of an answer of our own making, as short as the client wants it. An answer that can't be encoded becomes a
    /// server's failure; `None` if not even that can be said.
    pub fn encode(&self, answer: Message) -> Option<Vec<u8>> {
        encode(answer, self.limit()).or_else(|| {
            let failure = self.answer(ResponseCode::ServFail, Vec::new());
            encode(failure, self.limit())
        })
    }

    /// A server's failure, or another answer that has only a code.
    pub fn encode_code(&self, code: ResponseCode) -> Option<Vec<u8>> {
        self.encode(self.answer(code, Vec::new()))
    }
}

fn refusal(metadata: &Metadata, code: ResponseCode) -> Unanswerable {
    let mut message = Message::error_msg(metadata.id, metadata.op_code, code);
    message.metadata.recursion_desired = metadata.recursion_desired;
    match message.to_vec() {
        Ok(bytes) => Unanswerable::Refused(bytes),
        Err(_) => Unanswerable::Nonsense,
    }
}

/// Leaves records out, and says so, until the message is as small as that.
fn encode(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    loop {
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= limit {
            return Some(bytes);
        }
        message.metadata.truncation = true;
        if !(message.authorities.is_empty() && message.additionals.is_empty()) {
            message.authorities.clear();
            message.additionals.clear();
            continue;
        }
        // Nothing is left to leave out.
        let fewer = message.answers.len().checked_sub(1)?;
        let in_proportion = message.answers.len() * limit / bytes.len();
        message.answers.truncate(in_proportion.min(fewer));
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Instant;

    use hickory_proto::rr::rdata::{A, SOA};
    use hickory_proto::rr::{Name, RData, RecordType};

    use super::super::cache::{Cache, Key};
    use super::super::{AskedFrom, Names, Upstream, answer};
    use super::*;

    struct Everything;

    impl Names for Everything {
        fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
            // What is given is in no need of care.
            assert!(!name.ends_with('.') && !name.bytes().any(|b| b.is_ascii_uppercase()));
            (name.len() < 5).then(|| vec![[172, 17, 0, 2].into(); name.len()])
        }

        fn names(&self, address: IpAddr) -> Option<Vec<String>> {
            Some(vec![address.to_string(), "..".to_owned(), "x".repeat(64)])
        }

        fn may_forward(&self) -> bool {
            true
        }
    }

    fn queries() -> Vec<Vec<u8>> {
        let mut queries = Vec::new();
        for (name, kind) in [
            ("web.", RecordType::A),
            ("a.much.longer.name.", RecordType::ANY),
            ("2.0.17.172.in-addr.arpa.", RecordType::PTR),
        ] {
            let mut query = Message::query();
            query.metadata.recursion_desired = true;
            query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
            queries.push(query.to_vec().unwrap());
            query.set_edns(Edns::new());
            queries.push(query.to_vec().unwrap());
        }
        queries
    }

    fn answers() -> Vec<Vec<u8>> {
        let name = Name::from_ascii("www.example.").unwrap();
        let mut answer = Message::response(1, OpCode::Query);
        answer.add_query(Query::query(name.clone(), RecordType::A));
        let record = Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
        let mut positive = answer.clone();
        positive.add_answers([record.clone(), record]);
        let soa = SOA::new(name.clone(), name.clone(), 1, 2, 3, 4, 60);
        answer.add_authority(Record::from_rdata(name, 60, RData::SOA(soa)));
        answer.set_edns(Edns::new());
        vec![positive.to_vec().unwrap(), answer.to_vec().unwrap()]
    }

    /// Whatever bytes come from clients and upstreams, they are read or not, and nothing else happens.
    #[test]
    fn hostile_bytes() {
        let mut state = 7u64;
        let mut random = move |below: usize| {
            // Knuth's MMIX generator.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut mutated = |originals: &[Vec<u8>]| {
            let mut bytes = originals[random(originals.len())].clone();
            for _ in 0..random(6) {
                let at = random(bytes.len());
                // Lengths, pointers and counts are the numbers that parsers trip over.
                bytes[at] = [0, 1, 12, 63, 64, 0xc0, 0xff, random(256) as u8][random(8)];
            }
            bytes.truncate(bytes.len() - random(4) * random(4));
            bytes
        };
        let (queries, answers) = (queries(), answers());
        let cache = Cache::default();
        let server = Upstream {
            address: ([192, 0, 2, 2], 53).into(),
            from: AskedFrom::Host,
        };
        let (mut read, mut own, mut kept) = (0, 0, 0);
        for round in 0..30_000 {
            let transport = [Transport::Udp, Transport::Tcp][round % 2];
            let Ok(asked) = Asked::read(&mutated(&queries), transport) else {
                continue;
            };
            read += 1;
            if let Some(answer) = answer::own(&Everything, &asked) {
                own += 1;
                let bytes = asked.encode(answer).unwrap();
                assert!(bytes.len() <= asked.limit());
            }
            if let Some(key) = Key::new(&asked, &[server], 0) {
                cache.keep(key.clone(), &mutated(&answers), Instant::now());
                let answer = cache.answer(&key, &asked, Instant::now());
                kept += usize::from(answer.is_some());
            }
        }
        assert!(
            read > 5000 && own > 500 && kept > 500,
            "{read} {own} {kept}"
        );
    }
}
