//! Names that are asked for elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dhow_net::dns::{Forwarding, Upstreams};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::place::*;
use crate::world::{WORLD, on_a_host};

const FIRST: u16 = 53;
const SECOND: u16 = 5353;

fn at(port: u16) -> SocketAddr {
    (WORLD, port).into()
}

fn outside() -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 7)
}

#[test]
fn from_the_host_and_from_the_sandbox() {
    on_a_host(|world| async move {
        let book = Book::of(&[("web", &["172.20.0.2"])]);
        let inner = netns();
        let server = World::start(&world.world, FIRST, |q, _| Some(with_a(&q, outside(), 60)));
        let nearby = World::start(&inner, FIRST, |q, _| Some(with_a(&q, outside(), 60)));
        let host = Sandbox::new(&book, upstreams(&[from_host(at(FIRST))]));
        let reached: SocketAddr = "198.51.100.2:53".parse().unwrap();
        let own = Sandbox::new(&book, upstreams(&[from_sandbox(reached)]));
        link(&own.netns, "198.51.100.1/24", &inner, "198.51.100.2/24");
        for (sandbox, server) in [(&host, &server), (&own, &nearby)] {
            let before = server.times_asked();
            for query in [
                query("Some.Example", RecordType::A),
                with_payload(query("other.example", RecordType::A), 1400),
            ] {
                let answer = ask(&sandbox.netns, &query).await;
                assert_eq!(addresses(&answer), ["203.0.113.7"]);
                let seen = server.asked.lock().unwrap().last().cloned().unwrap();
                assert_eq!(seen.queries, query.queries);
                assert_eq!(seen.edns, query.edns);
                let mut query = query;
                query.queries[0].set_query_type(RecordType::TXT);
                let answer = ask_tcp(&sandbox.netns, &query).await;
                assert_eq!(addresses(&answer), ["203.0.113.7"]);
            }
            assert_eq!(server.times_asked() - before, 4);
            // Ours is not asked for elsewhere.
            sandbox.ask("web", RecordType::MX).await;
            assert_eq!(server.times_asked() - before, 4);
        }
        // On internal networks only the sandbox's own ways are left.
        book.internal.store(true, Ordering::Relaxed);
        let refused = host.ask("third.example", RecordType::A).await;
        assert_eq!(refused.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(server.times_asked(), 4);
        let answer = own.ask("third.example", RecordType::A).await;
        assert_eq!(addresses(&answer), ["203.0.113.7"]);
        // And from the sandbox we don't ask ourselves.
        let itself = Sandbox::new(&book, upstreams(&[from_sandbox(SERVER)]));
        let answer = itself.ask("third.example", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    });
}

#[test]
fn the_next_server_is_asked() {
    on_a_host(|world| async move {
        let book = Book::of(&[]);
        let _first = World::start(&world.world, FIRST, |q, tcp| {
            let name = q.queries[0].name().to_ascii();
            match name.as_str() {
                "silent.example." => None,
                "failing.example." => Some(empty(&q, ResponseCode::ServFail)),
                "refused.example." => Some(empty(&q, ResponseCode::Refused)),
                // Another's answer, before none.
                "wrong.example." => {
                    let mut answer = with_a(&q, Ipv4Addr::LOCALHOST, 60);
                    answer.metadata.id ^= 1;
                    Some(answer)
                }
                "other.example." if !tcp => {
                    let mut answer = with_a(&q, Ipv4Addr::LOCALHOST, 60);
                    answer.queries[0].set_name(name_of("another.example"));
                    Some(answer)
                }
                _ => Some(no_such_name(&q, 60)),
            }
        });
        let second = World::start(&world.world, SECOND, |q, _| Some(with_a(&q, outside(), 60)));
        let closed = from_host(at(9));
        let (first, other) = (from_host(at(FIRST)), from_host(at(SECOND)));
        let sandbox = Sandbox::new(&book, upstreams(&[closed, first, other]));
        for name in ["silent", "failing", "refused", "wrong", "other"] {
            let name = format!("{name}.example");
            let answer = sandbox.ask(&name, RecordType::A).await;
            assert_eq!(addresses(&answer), ["203.0.113.7"], "{name}");
        }
        assert_eq!(second.times_asked(), 5);
        // That there is none is an answer.
        let none = sandbox.ask("none.example", RecordType::A).await;
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(second.times_asked(), 5);
        // A fourth is not asked; when all have failed, that is said.
        let servers = [closed, first, first, other];
        let sandbox = Sandbox::new(&book, upstreams(&servers));
        for name in ["silent", "failing"] {
            let answer = sandbox.ask(&format!("{name}.example"), RecordType::A).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        }
        assert_eq!(second.times_asked(), 5);
    });
}

fn name_of(text: &str) -> hickory_proto::rr::Name {
    name(text)
}

#[test]
fn a_slow_server_holds_up_nobody_else() {
    on_a_host(|world| async move {
        let book = Book::of(&[("web", &["172.20.0.2"])]);
        let server = World::start(&world.world, FIRST, |q, _| {
            let slow = q.queries[0].name().to_ascii().starts_with("slow");
            (!slow).then(|| with_a(&q, outside(), 0))
        });
        let slow = Upstreams {
            timeout: Duration::from_secs(60),
            ..upstreams(&[from_host(at(FIRST))])
        };
        let sandbox = Sandbox::new(&book, slow);
        let client = udp_client(&sandbox.netns);
        // More than are asked for at once.
        for n in 0..1500 {
            let query = query(&format!("slow{n}.example"), RecordType::A);
            let bytes = query.to_vec().unwrap();
            client.send_to(&bytes, SERVER).await.unwrap();
            if n % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(sandbox.addresses("web", RecordType::A).await.len(), 1);
        let mut stream = tcp_client(&sandbox.netns).await;
        let fast = query("fast.example", RecordType::A);
        let answer = ask_over(&mut stream, &fast).await;
        assert_eq!(addresses(&answer), ["203.0.113.7"]);
        let asked = server.times_asked();
        assert!((500..=1024 + 1).contains(&asked), "{asked}");
    });
}

#[test]
fn what_is_cut_short_comes_whole_over_tcp() {
    on_a_host(|world| async move {
        let book = Book::of(&[]);
        let server = World::start(&world.world, FIRST, |q, tcp| {
            if tcp {
                return Some(with_txt(&q, 100));
            }
            let payload = q.edns.as_ref().map_or(512, |edns| edns.max_payload());
            let mut answer = with_txt(&q, usize::from(payload) / 250);
            answer.metadata.truncation = true;
            Some(answer)
        });
        let sandbox = Sandbox::new(&book, upstreams(&[from_host(at(FIRST))]));
        let plain = query("large.example", RecordType::TXT);
        for (query, records) in [(plain.clone(), 2), (with_payload(plain.clone(), 4096), 16)] {
            for _ in 0..2 {
                let answer = ask(&sandbox.netns, &query).await;
                assert!(answer.metadata.truncation);
                assert_eq!(answer.answers.len(), records);
            }
        }
        // A busy machine's server may be asked once more.
        assert!(server.times_asked() >= 4, "half an answer is not kept");
        let answer = ask_tcp(&sandbox.netns, &plain).await;
        assert!(!answer.metadata.truncation);
        assert_eq!(answer.answers.len(), 100);
    });
}

#[test]
fn answers_are_kept_as_long_as_they_say() {
    on_a_host(|world| async move {
        let book = Book::of(&[]);
        let server = World::start(&world.world, FIRST, |q, _| {
            let first = q.queries[0].name().to_ascii();
            Some(match first.split('.').next().unwrap() {
                "none" => no_such_name(&q, 60),
                "zero" => with_a(&q, outside(), 0),
                "brief" => with_a(&q, outside(), 1),
                "unsure" => empty(&q, ResponseCode::NXDomain),
                _ => with_a(&q, outside(), 60),
            })
        });
        let forwarding = Forwarding::default();
        let netns = [netns(), netns()];
        let to = upstreams(&[from_host(at(FIRST))]);
        let _servers = netns.each_ref().map(|netns| {
            let sockets = open(netns);
            serve(sockets, netns, book.clone(), to.clone(), &forwarding)
        });
        let [one, other] = &netns;
        for (name, times) in [
            ("kept.example", 1),
            ("KEPT.example", 1),
            ("none.example", 2),
            ("zero.example", 5),
            ("unsure.example", 8),
        ] {
            let query = query(name, RecordType::A);
            let first = ask(one, &query).await;
            for netns in [one, other] {
                let answer = ask(netns, &query).await;
                assert_eq!(answer.metadata.response_code, first.metadata.response_code);
                assert_eq!(addresses(&answer), addresses(&first));
                assert!(answer.answers.iter().all(|record| record.ttl <= 60));
            }
            assert_eq!(server.times_asked(), times, "{name}");
        }
        // A client that takes EDNS has it answered, and is another one's equal in nothing else.
        let before = server.times_asked();
        let query = with_payload(query("kept.example", RecordType::A), 1232);
        for _ in 0..2 {
            assert_eq!(addresses(&ask(one, &query).await).len(), 1);
            assert!(ask_tcp(one, &query).await.answers.len() == 1);
        }
        assert_eq!(server.times_asked() - before, 1);
        // What is to be kept for a second is asked for again after it, and its age shows until then.
        let query = crate::place::query("brief.example", RecordType::A);
        let before = server.times_asked();
        let begun = Instant::now();
        while server.times_asked() - before < 2 {
            let answer = ask(one, &query).await;
            assert!(answer.answers[0].ttl <= 1);
            assert!(begun.elapsed() < PATIENCE, "never asked for again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(1));
    });
}

#[test]
fn what_a_sandbox_learns_over_its_own_network_stays_there() {
    on_a_host(|_| async {
        let book = Book::of(&[]);
        let forwarding = Forwarding::default();
        // The same address, and others behind it.
        let near: SocketAddr = "127.0.0.1:5300".parse().unwrap();
        let to = upstreams(&[from_sandbox(near)]);
        let netns = [netns(), netns()];
        let _inner = [
            World::start(&netns[0], 5300, |q, _| {
                Some(with_a(&q, Ipv4Addr::new(203, 0, 113, 1), 60))
            }),
            World::start(&netns[1], 5300, |q, _| {
                Some(with_a(&q, Ipv4Addr::new(203, 0, 113, 2), 60))
            }),
        ];
        let _servers = netns.each_ref().map(|netns| {
            let sockets = open(netns);
            serve(sockets, netns, book.clone(), to.clone(), &forwarding)
        });
        let query = query("same.example", RecordType::A);
        for _ in 0..2 {
            let one = ask(&netns[0], &query).await;
            assert_eq!(addresses(&one), ["203.0.113.1"]);
            let other = ask(&netns[1], &query).await;
            assert_eq!(addresses(&other), ["203.0.113.2"]);
        }
    });
}

#[test]
fn names_of_one_label() {
    on_a_host(|world| async move {
        let book = Book::of(&[]);
        let server = World::start(&world.world, FIRST, |q, _| Some(with_a(&q, outside(), 60)));
        let to = upstreams(&[from_host(at(FIRST))]);
        let kept = Upstreams {
            single_labels: false,
            ..to.clone()
        };
        let sandbox = Sandbox::new(&book, kept);
        let answer = sandbox.ask("printer", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(addresses(&answer).len(), 0);
        assert_eq!(server.times_asked(), 0);
        sandbox.ask("printer.example", RecordType::A).await;
        sandbox.ask("com", RecordType::NS).await;
        assert_eq!(server.times_asked(), 2);
        let sandbox = Sandbox::new(&book, to);
        let answer = sandbox.ask("printer", RecordType::A).await;
        assert_eq!(addresses(&answer), ["203.0.113.7"]);
    });
}
