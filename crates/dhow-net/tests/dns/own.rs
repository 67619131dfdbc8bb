//! Names and addresses of the sandbox's own networks.

use std::collections::BTreeSet;

use dhow_net::dns::Upstreams;
use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;

use crate::place::*;
use crate::world::{inside, on_a_host};

fn book() -> std::sync::Arc<Book> {
    Book::of(&[
        ("web", &["172.20.0.2", "fd00::2"]),
        ("six", &["fd00::6"]),
        ("my_db.front_net", &["172.20.0.3"]),
        (
            "many",
            &["172.20.1.1", "172.20.1.2", "172.20.1.3", "172.20.1.4"],
        ),
    ])
}

#[test]
fn names_and_addresses() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        for (name, kind, expected) in [
            ("web", RecordType::A, &["172.20.0.2"][..]),
            ("WeB.", RecordType::A, &["172.20.0.2"]),
            ("web", RecordType::AAAA, &["fd00::2"]),
            ("my_db.front_net", RecordType::A, &["172.20.0.3"]),
            ("localhost", RecordType::A, &["127.0.0.1"]),
            ("localhost", RecordType::AAAA, &["::1"]),
            // There is such a name, without such a record.
            ("six", RecordType::A, &[]),
            ("web", RecordType::MX, &[]),
            ("web", RecordType::HTTPS, &[]),
        ] {
            let query = query(name, kind);
            for answer in [
                ask(&sandbox.netns, &query).await,
                ask_tcp(&sandbox.netns, &query).await,
            ] {
                assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
                assert!(answer.metadata.recursion_available, "{name} {kind}");
                assert!(answer.metadata.recursion_desired);
                assert_eq!(addresses(&answer), expected, "{name} {kind}");
                let owned = |r: &hickory_proto::rr::Record| r.name == *query.queries[0].name();
                assert!(answer.answers.iter().all(owned));
            }
        }
        let both: BTreeSet<_> = sandbox
            .addresses("web", RecordType::ANY)
            .await
            .into_iter()
            .collect();
        assert_eq!(both.len(), 2);
        // Nobody's here, and nobody to ask.
        let unknown = sandbox.ask("other", RecordType::A).await;
        assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn names_of_addresses() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        let ip6 = format!("2{}0.0.d.f.ip6.arpa", ".0".repeat(27) + ".");
        for (address, expected) in [
            ("2.0.20.172.in-addr.arpa", "web.front_net."),
            ("3.0.20.172.IN-ADDR.ARPA", "my_db.front_net.front_net."),
            (&ip6, "web.front_net."),
        ] {
            let answer = sandbox.ask(address, RecordType::PTR).await;
            let [record] = answer.answers.as_slice() else {
                panic!("{address}: {answer}");
            };
            let RData::PTR(target) = &record.data else {
                panic!("{record}");
            };
            assert_eq!(target.0.to_ascii(), expected);
        }
        for other in [
            "9.0.20.172.in-addr.arpa",
            "0.20.172.in-addr.arpa",
            "x.0.20.172.in-addr.arpa",
        ] {
            let answer = sandbox.ask(other, RecordType::PTR).await;
            let code = answer.metadata.response_code;
            assert_eq!(code, ResponseCode::ServFail, "{other}");
        }
    });
}

#[test]
fn each_of_several_addresses_comes_first() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        let mut first = BTreeSet::new();
        for _ in 0..200 {
            let addresses = sandbox.addresses("many", RecordType::A).await;
            assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 4);
            first.insert(addresses[0].clone());
            // Both families are asked for each time.
            assert_eq!(sandbox.addresses("many", RecordType::AAAA).await.len(), 0);
            if first.len() == 4 {
                return;
            }
        }
        panic!("only {first:?} came first");
    });
}

#[test]
fn a_container_may_have_port_53_itself() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        let theirs = inside(&sandbox.netns, || {
            let udp = std::net::UdpSocket::bind("0.0.0.0:53").unwrap();
            let _tcp = std::net::TcpListener::bind("0.0.0.0:53").unwrap();
            udp.set_nonblocking(true).unwrap();
            udp
        });
        let theirs = UdpSocket::from_std(theirs.join().unwrap()).unwrap();
        assert_eq!(
            sandbox.addresses("web", RecordType::A).await,
            ["172.20.0.2"]
        );
        let client = udp_client(&sandbox.netns);
        client.send_to(b"to theirs", "127.0.0.1:53").await.unwrap();
        let mut buffer = [0; 64];
        let (length, _) = theirs.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"to theirs");
    });
}

#[test]
fn answers_as_large_as_the_client_takes() {
    on_a_host(|_| async {
        let names: Vec<String> = (0..200).map(|n| format!("172.20.5.{n}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let sandbox = Sandbox::new(&Book::of(&[("large", &all)]), Upstreams::default());
        let plain = query("large", RecordType::A);
        for (query, limit) in [
            (plain.clone(), 512),
            (with_payload(plain.clone(), 100), 512),
            (with_payload(plain.clone(), 1232), 1232),
        ] {
            let bytes = query.to_vec().unwrap();
            let bytes = exchange(&sandbox.netns, &bytes, PATIENCE).await.unwrap();
            let length = bytes.len();
            assert!(
                length <= limit && length > limit - 200,
                "{length} of {limit}"
            );
            let answer = ask(&sandbox.netns, &query).await;
            assert!(answer.metadata.truncation);
            assert_eq!(answer.edns.is_some(), query.edns.is_some());
        }
        for answer in [
            ask(&sandbox.netns, &with_payload(plain.clone(), 8192)).await,
            ask_tcp(&sandbox.netns, &plain).await,
        ] {
            assert!(!answer.metadata.truncation);
            assert_eq!(answer.answers.len(), 200);
        }
    });
}

#[test]
fn queries_that_are_none() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        let good = query("web", RecordType::A);
        let bytes = good.to_vec().unwrap();
        let mut two = good.clone();
        two.add_queries(good.queries.clone());
        let mut update = good.clone();
        update.metadata.op_code = OpCode::Update;
        let mut newer = with_payload(good.clone(), 1232);
        newer.edns.as_mut().unwrap().set_version(1);
        for (bytes, expected) in [
            (&bytes[..bytes.len() - 1], ResponseCode::FormErr),
            (&bytes[..12], ResponseCode::FormErr),
            (&two.to_vec().unwrap(), ResponseCode::FormErr),
            (&update.to_vec().unwrap(), ResponseCode::NotImp),
            (&newer.to_vec().unwrap(), ResponseCode::BADVERS),
        ] {
            let answer = exchange(&sandbox.netns, bytes, PATIENCE).await.unwrap();
            let answer = hickory_proto::op::Message::from_vec(&answer).unwrap();
            // Two names have the same number.
            let code = answer.metadata.response_code;
            assert_eq!(u16::from(code), u16::from(expected));
            assert_eq!(answer.metadata.id, good.metadata.id);
        }
        let answer = good.clone().into_response().to_vec().unwrap();
        for silent in [&[][..], &bytes[..11], &answer] {
            assert_eq!(exchange(&sandbox.netns, silent, SILENCE).await, None);
        }
        // Whatever is made of a query, the server goes on.
        let mut random = 1u32;
        let client = udp_client(&sandbox.netns);
        let long = with_payload(query("a.long.name.with.labels", RecordType::PTR), 4096);
        for round in 0..20_000 {
            let mut mutant = if round % 2 == 0 {
                bytes.clone()
            } else {
                long.to_vec().unwrap()
            };
            for _ in 0..=round % 5 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (random >> 8) as usize % mutant.len();
                mutant[at] = random as u8;
            }
            mutant.truncate(mutant.len() - round % 7);
            client.send_to(&mutant, SERVER).await.unwrap();
            if round % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(
            sandbox.addresses("web", RecordType::A).await,
            ["172.20.0.2"]
        );
    });
}

#[test]
fn several_queries_over_one_connection() {
    on_a_host(|_| async {
        let sandbox = Sandbox::new(&book(), Upstreams::default());
        let mut stream = tcp_client(&sandbox.netns).await;
        for (name, count) in [("web", 1), ("many", 4), ("six", 0)] {
            let answer = ask_over(&mut stream, &query(name, RecordType::A)).await;
            assert_eq!(answer.answers.len(), count);
        }
        // Clients that say nothing are many, and keep nobody from being served over UDP; further ones wait for a place.
        let mut idle = Vec::new();
        for _ in 0..200 {
            idle.push(tcp_client(&sandbox.netns).await);
        }
        assert_eq!(sandbox.addresses("six", RecordType::AAAA).await.len(), 1);
        idle.clear();
        let answer = ask_tcp(&sandbox.netns, &query("web", RecordType::A)).await;
        assert_eq!(answer.answers.len(), 1);
        // With the server its connections end.
        drop(sandbox);
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
        ended.await.unwrap().ok();
        assert!(rest.is_empty());
    });
}
