//! Sockets that outlive the process that serves them.

use std::os::fd::AsFd;

use dhow_net::dns::{Forwarding, Sockets, Upstreams};
use hickory_proto::rr::RecordType;

use crate::place::*;
use crate::world::{inside, on_a_host, run};

#[test]
fn queries_wait_for_the_next_server() {
    on_a_host(|_| async {
        let netns = netns();
        let forwarding = Forwarding::default();
        let book = Book::of(&[("web", &["172.20.0.2"])]);
        let sockets = open(&netns);
        // What the shim keeps, among what else it does.
        let kept = sockets.try_clone().unwrap();
        let pipe = rustix::pipe::pipe().unwrap().0;
        let kept = [pipe, kept.tcp, kept.udp];
        let server = serve(
            sockets,
            &netns,
            book.clone(),
            Upstreams::default(),
            &forwarding,
        );
        let query = query("web", RecordType::A);
        assert_eq!(addresses(&ask(&netns, &query).await), ["172.20.0.2"]);
        drop(server);
        // The task ends in its own time.
        tokio::task::yield_now().await;

        let client = udp_client(&netns);
        let bytes = query.to_vec().unwrap();
        client.send_to(&bytes, SERVER).await.unwrap();
        let mut stream = tcp_client(&netns).await;
        let mut buffer = [0; 512];
        let silent = tokio::time::timeout(SILENCE, client.recv(&mut buffer)).await;
        assert!(silent.is_err(), "nobody serves");

        // The next daemon gets duplicates back, and the name's address has changed since.
        let duplicates = kept.iter().map(|fd| fd.try_clone().unwrap()).collect();
        let (sockets, others) = Sockets::among(duplicates);
        assert_eq!(others.len(), 1);
        let book = Book::of(&[("web", &["172.20.0.9"])]);
        let _server = serve(
            sockets.unwrap(),
            &netns,
            book,
            Upstreams::default(),
            &forwarding,
        );
        let received = tokio::time::timeout(PATIENCE, client.recv(&mut buffer)).await;
        let length = received.unwrap().unwrap();
        let answer = hickory_proto::op::Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(addresses(&answer), ["172.20.0.9"]);
        let answer = ask_over(&mut stream, &query).await;
        assert_eq!(addresses(&answer), ["172.20.0.9"]);
    });
}

#[test]
fn opened_again_the_redirection_is_to_the_newer_sockets() {
    on_a_host(|_| async {
        let netns = netns();
        let forwarding = Forwarding::default();
        let book = Book::of(&[("web", &["172.20.0.2"])]);
        let first = open(&netns);
        let second = open(&netns);
        let _server = serve(second, &netns, book, Upstreams::default(), &forwarding);
        let answer = ask(&netns, &query("web", RecordType::A)).await;
        assert_eq!(addresses(&answer), ["172.20.0.2"]);
        let rules = inside(&netns, || run("nft list ruleset")).join().unwrap();
        assert_eq!(rules.matches("table ip dhow-dns").count(), 1, "{rules}");
        assert_eq!(rules.matches("dnat to :").count(), 2, "{rules}");
        drop(first);
        // What is no namespace can't be entered, and the thread stays where it is.
        std::thread::spawn(|| {
            let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
            let before = here();
            let none = std::fs::File::open("/dev/null").unwrap();
            dhow_net::dns::open_sockets(none.as_fd()).unwrap_err();
            assert_eq!(before, here());
        })
        .join()
        .unwrap();
    });
}
