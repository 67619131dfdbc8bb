//! What waits for a server, and how long a server is waited for.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::protocol::{Host, TlsFiles};

fn server(address: LogAddress) -> Server {
    Server::new(&LogServer {
        dialect: LogDialect::Journald { fields: Vec::new() },
        address,
        buffer: 1 << 20,
        patient: true,
    })
}

fn entry(text: &[u8]) -> Entry<'_> {
    Entry {
        stream: Stream::Stdout,
        time: Timestamp::now(),
        text,
    }
}

#[test]
fn a_server_that_is_waited_for_keeps_to_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut poller = Poller::new().unwrap();
    let mut server = server(LogAddress::Datagrams(path));
    let mut taken = 0u64;
    let mut most = 0;
    let mut fill = |server: &mut Server, poller: &mut Poller| {
        // As the container's output is read, the shortest lines there are.
        while !server.is_full() {
            for _ in 0..server.room().min(64 * 1024) {
                server.take(&entry(b"\n"), None);
                taken += 1;
                most = most.max(server.queued);
            }
            server.pump(poller);
        }
        taken
    };
    // The first makes the connection.
    server.take(&entry(b"\n"), None);
    server.pump(&mut poller);
    fill(&mut server, &mut poller);
    socket.recv(&mut [0; 1024]).unwrap();
    server.pump(&mut poller);
    let taken = fill(&mut server, &mut poller) + 1;
    assert!(most < (1 << 20) + LEAST_ROOM * 1024, "{most}");
    assert_eq!(server.dropped, 0);
    // It takes all.
    socket.set_nonblocking(true).unwrap();
    let mut received = 1;
    while received < taken {
        while socket.recv(&mut [0; 1024]).is_ok() {
            received += 1;
        }
        server.pump(&mut poller);
    }
    assert_eq!(server.queued, 0);
}

#[test]
fn what_is_left_at_the_end_has_a_bound_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let _socket = UnixDatagram::bind(&path).unwrap();
    let mut poller = Poller::new().unwrap();
    let mut server = server(LogAddress::Datagrams(path));
    server.take(&entry(b"\n"), None);
    server.pump(&mut poller);
    for _ in 0..100_000 {
        server.take(&entry(b"\n"), None);
    }
    assert!(server.dropped > 0);
    assert!(server.queued < (2 << 20) + LAST_BYTES);
}

#[test]
fn a_server_that_agrees_on_no_encryption_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut poller = Poller::new().unwrap();
    let mut server = server(LogAddress::Tls {
        host: Host {
            name: "localhost".to_owned(),
            port: address.port(),
            addresses: vec![address],
        },
        files: TlsFiles {
            unverified: true,
            ..TlsFiles::default()
        },
    });
    server.take(&entry(b"hello\n"), None);
    server.pump(&mut poller);
    // The connection is taken and the first message sent, to which there is no answer.
    let mut rounds = 0;
    while !matches!(&server.state, State::Connecting(line, _) if line.taken && !line.wire.has_rest())
    {
        let soon = Instant::now() + Duration::from_secs(5);
        for (token, flags) in poller.wait(Some(soon)).unwrap() {
            server.ready(&mut poller, token, flags);
        }
        rounds += 1;
        assert!(rounds < 10, "the connection is not made");
    }
    let State::Connecting(_, until) = &mut server.state else {
        unreachable!();
    };
    assert!(*until <= Instant::now() + CONNECT_PATIENCE);
    *until = Instant::now();
    server.pump(&mut poller);
    assert!(matches!(server.state, State::Away(_)));
    assert!(server.queued > 0, "what waits goes on waiting");
}

#[test]
fn a_server_that_has_moved_is_found_at_its_new_address() {
    let (old, new) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut poller = Poller::new().unwrap();
    let mut server = server(LogAddress::Tcp(Host {
        name: "log.example".into(),
        port: old.port(),
        addresses: vec![old],
    }));
    server.take(&entry(b"moved"), None);
    assert!(!server.take_lost());
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut told = false;
    let (mut connection, _) = loop {
        assert!(Instant::now() < deadline, "it is not looked for there");
        server.pump(&mut poller);
        if server.take_lost() && !told {
            told = true;
            server.set_addresses(Vec::new());
            server.set_addresses(vec![new.local_addr().unwrap()]);
        }
        let events = poller.wait(server.deadline()).unwrap();
        for (token, flags) in events {
            server.ready(&mut poller, token, flags);
        }
        new.set_nonblocking(true).unwrap();
        if let Ok(connection) = new.accept() {
            break connection;
        }
    };
    connection.set_nonblocking(false).unwrap();
    server.pump(&mut poller);
    server.close();
    server.end(&mut poller);
    drop(server);
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    assert!(text.contains("MESSAGE=moved"), "{text}");
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
