//! Log drivers that send to a server, syslog and journald: what the server gets, what `logs` has of it, and what
//! becomes of a container whose server is away.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use dhow_tests::{TestHost, eventually};

/// A server's socket: what it has received, in messages or in one piece.
struct Server<S> {
    socket: S,
    received: Vec<Vec<u8>>,
}

trait Receive {
    fn receive(&self, bytes: &mut [u8]) -> std::io::Result<usize>;
}

impl Receive for UnixDatagram {
    fn receive(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.recv(bytes)
    }
}

impl Receive for UdpSocket {
    fn receive(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.recv(bytes)
    }
}

/// The first connection of a listener, however late it comes.
struct First<L, C> {
    listener: L,
    connection: std::cell::RefCell<Option<C>>,
    accept: fn(&L) -> std::io::Result<C>,
}

impl<L, C: Read> Receive for First<L, C> {
    fn receive(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let mut connection = self.connection.borrow_mut();
        if connection.is_none() {
            *connection = Some((self.accept)(&self.listener)?);
        }
        match connection.as_mut().map(|c| c.read(bytes)) {
            Some(Ok(0)) | None => Err(ErrorKind::WouldBlock.into()),
            Some(result) => result,
        }
    }
}

impl<S: Receive> Server<S> {
    fn new(socket: S) -> Server<S> {
        Server {
            socket,
            received: Vec::new(),
        }
    }

    fn take(&mut self) {
        let mut bytes = vec![0; 128 * 1024];
        loop {
            match self.socket.receive(&mut bytes) {
                Ok(count) => self.received.push(bytes[..count].to_vec()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("receiving: {e}"),
            }
        }
    }

    fn text(&mut self) -> String {
        self.take();
        String::from_utf8_lossy(&self.received.concat()).into_owned()
    }

    #[track_caller]
    fn gets(&mut self, text: &str) -> String {
        eventually(&format!("the server gets {text:?}"), || {
            let all = self.text();
            all.contains(text).then_some(all)
        })
    }
}

fn unixgram(path: &Path) -> Server<UnixDatagram> {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    Server::new(socket)
}

const SCRIPT: &str = "busybox sh -c 'echo one; echo two >&2'";

/// The messages with what differs from run to run taken out of them.
#[track_caller]
fn check_messages(all: &str, expected: [&str; 2]) {
    for expected in expected {
        let (start, end) = expected.split_once(" .. ").unwrap();
        let found = all
            .lines()
            .any(|line| line.starts_with(start) && line.ends_with(end));
        assert!(found, "a message like {expected:?} in {all:?}");
    }
}

#[test]
fn syslog_by_each_of_its_ways() {
    let host = TestHost::start();
    let gram = host.path("gram.sock");
    let mut server = unixgram(&gram);
    host.sh(&format!(
        "docker run --name gram --log-driver syslog --log-opt syslog-address=unixgram://{} \
         --log-opt syslog-facility=local0 --log-opt syslog-format=rfc3164 --log-opt 'tag={{{{.Name}}}}/x' {SCRIPT}",
        gram.display()
    ))
    .ok();
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let all = server.gets("two\n");
    check_messages(&all, ["<134> .. ]: one", "<131> .. ]: two"]);
    assert!(all.contains(&format!(" {hostname} gram/x[")), "{all}");
    let logs = host.sh("docker logs gram");
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("one\n", "two\n")
    );
    assert_eq!(host.inspect("gram")["LogPath"], "");

    let udp = host.netns.run(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    udp.set_nonblocking(true).unwrap();
    let port = udp.local_addr().unwrap().port();
    let mut server = Server::new(udp);
    host.sh(&format!(
        "docker run --name udp --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:{port} \
         --log-opt syslog-format=rfc5424 {SCRIPT}"
    ))
    .ok();
    let id = &host.id("udp")[..12];
    let all = server.gets("two\n");
    check_messages(
        &all,
        [
            &format!("<30>1 20 .. {id} - one"),
            &format!("<27>1 20 .. {id} - two"),
        ],
    );

    let tcp = host.netns.run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let mut server = Server::new(First {
        listener: tcp,
        connection: Default::default(),
        accept: |listener| {
            let (connection, _) = listener.accept()?;
            connection.set_nonblocking(true)?;
            Ok(connection)
        },
    });
    // A name is looked up.
    host.sh(&format!(
        "docker run --name tcp --log-driver syslog --log-opt syslog-address=tcp://localhost:{port} \
         --log-opt syslog-format=rfc5424micro --log-opt tag=t {SCRIPT}"
    ))
    .ok();
    let all = server.gets("two\n");
    check_messages(&all, ["<30>1 20 .. t - one", "<27>1 20 .. t - two"]);

    let path = host.path("stream.sock");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut server = Server::new(First {
        listener,
        connection: Default::default(),
        accept: |listener: &UnixListener| {
            let (connection, _) = listener.accept()?;
            connection.set_nonblocking(true)?;
            Ok(connection)
        },
    });
    host.sh(&format!(
        "docker run --name stream --log-driver syslog --log-opt syslog-address=unix://{} --log-opt tag=t {SCRIPT}",
        path.display()
    ))
    .ok();
    let all = server.gets("two\n");
    check_messages(&all, ["<30> .. ]: one", "<27> .. ]: two"]);
}

#[test]
fn syslog_over_tls() {
    let host = TestHost::start();
    host.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out req.pem -subj /CN=logs && \
         echo subjectAltName=IP:127.0.0.1 >ext && \
         openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext",
    )
    .ok();
    let server = host.spawn_with_stdin(
        "exec openssl s_server -accept 127.0.0.1:6514 -cert cert.pem -key key.pem -quiet",
    );
    eventually("the server listens", || {
        host.netns
            .run(|| std::net::TcpStream::connect("127.0.0.1:6514"))
            .ok()
    });
    let options = "--log-driver syslog --log-opt syslog-address=tcp+tls://127.0.0.1:6514 --log-opt syslog-format=rfc5424 --log-opt tag=t";
    host.sh(&format!(
        "docker run --name known {options} --log-opt syslog-tls-ca-cert={} {SCRIPT}",
        host.path("ca.pem").display()
    ))
    .ok();
    let all = server.prints("t - two\n");
    assert!(all.contains("t - one\n"), "{all}");
    // The system's authorities don't know it: nothing is sent, and nothing waits for it.
    host.sh(&format!(
        "docker run --name unknown {options} busybox echo not to be sent"
    ))
    .ok();
    assert_eq!(host.sh("docker logs unknown").ok(), "not to be sent");
    host.sh(&format!(
        "docker run --name any {options} --log-opt syslog-tls-skip-verify=true busybox echo to anyone"
    ))
    .ok();
    let all = server.prints("t - to anyone\n");
    assert!(!all.contains("not to be sent"), "{all}");
}

/// An entry's fields.
fn fields(mut entry: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    while !entry.is_empty() {
        let line_end = entry.iter().position(|b| *b == b'\n').unwrap();
        let line = &entry[..line_end];
        entry = &entry[line_end + 1..];
        match line.iter().position(|b| *b == b'=') {
            Some(at) => {
                let name = String::from_utf8(line[..at].to_vec()).unwrap();
                all.insert(name, line[at + 1..].to_vec());
            }
            None => {
                let length = u64::from_le_bytes(entry[..8].try_into().unwrap()) as usize;
                let name = String::from_utf8(line.to_vec()).unwrap();
                all.insert(name, entry[8..8 + length].to_vec());
                entry = &entry[8 + length + 1..];
            }
        }
    }
    all
}

#[test]
fn the_journal_has_each_entry_with_its_fields() {
    let mut host = TestHost::start();
    let path = host.path("journal.sock");
    let mut journal = unixgram(&path);
    let driver = format!(
        "--log-driver journald --log-opt journald-socket={}",
        path.display()
    );
    host.sh(&format!(
        "docker run --name web {driver} --label com.example/l=x -e KEY=v --log-opt labels=com.example/l --log-opt env=KEY \
         --log-opt 'tag={{{{.ImageName}}}}' busybox sh -c 'echo one; echo two >&2; echo; head -c 20000 /dev/zero | tr \"\\0\" x; echo'"
    ))
    .ok();
    let entries = eventually("five entries have come", || {
        journal.take();
        (journal.received.len() >= 5).then(|| {
            let entries: Vec<_> = journal.received.iter().map(|entry| fields(entry)).collect();
            entries
        })
    });
    let find = |message: &str| {
        let found = entries
            .iter()
            .find(|entry| entry["MESSAGE"] == message.as_bytes());
        let found = found.unwrap_or_else(|| panic!("{message:?} is in {entries:?}"));
        let text = |(name, value): (&String, &Vec<u8>)| {
            (name.clone(), String::from_utf8_lossy(value).into_owned())
        };
        found.iter().map(text).collect::<BTreeMap<_, _>>()
    };
    let id = host.id("web");
    let one = find("one");
    for (name, value) in [
        ("PRIORITY", "6"),
        ("CONTAINER_ID", &id[..12]),
        ("CONTAINER_ID_FULL", &id),
        ("CONTAINER_NAME", "web"),
        ("CONTAINER_TAG", "busybox"),
        ("SYSLOG_IDENTIFIER", "busybox"),
        ("IMAGE_NAME", "busybox"),
        ("COM_EXAMPLE_L", "x"),
        ("KEY", "v"),
    ] {
        assert_eq!(one[name], value, "{name} of {one:?}");
    }
    assert!(one["SYSLOG_TIMESTAMP"].ends_with('Z') && !one.contains_key("CONTAINER_PARTIAL_ID"));
    assert_eq!(find("two")["PRIORITY"], "3");
    find("");
    // A long line comes in parts that know each other.
    let (first, last) = (find(&"x".repeat(16384)), find(&"x".repeat(20000 - 16384)));
    assert_eq!(first["CONTAINER_PARTIAL_ID"], last["CONTAINER_PARTIAL_ID"]);
    let part = |entry: &BTreeMap<String, String>| {
        [
            "CONTAINER_PARTIAL_ORDINAL",
            "CONTAINER_PARTIAL_LAST",
            "CONTAINER_PARTIAL_MESSAGE",
        ]
        .map(|name| entry.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(part(&first), ["1", "false", "true"]);
    assert_eq!(part(&last), ["2", "true", ""]);
    assert_eq!(
        host.sh("docker logs web 2>/dev/null | tail -n 1 | wc -c")
            .ok(),
        "20001"
    );
    assert_eq!(
        host.sh("docker logs --details web").stderr,
        "KEY=v,com.example%2Fl=x,tag=busybox two\n"
    );
    // Without the cache there is nothing to read.
    host.sh(&format!(
        "docker run --name bare {driver} --log-opt cache-disabled=true busybox echo hello"
    ))
    .ok();
    journal.gets("MESSAGE=hello\n");
    let refused = host.sh("docker logs bare").fails(1);
    assert!(
        refused.contains("configured logging driver does not support reading"),
        "{refused}"
    );
    // The shim sends, with a daemon or without one.
    host.sh(&format!(
        "docker run -d --name ticking {driver} busybox sh -c 'while true; do echo tick; sleep 0.1; done'"
    ))
    .ok();
    journal.gets("MESSAGE=tick\n");
    host.kill_daemon();
    journal.take();
    let before = journal.received.len();
    eventually("it goes on", || {
        journal.take();
        (journal.received.len() > before + 5).then_some(())
    });
}

#[test]
fn a_server_that_is_away_holds_nobody_up_and_learns_what_it_missed() {
    let host = TestHost::start();
    let script = "busybox sh -c 'seq 1 100000; echo flooded; until [ -e /go ]; do sleep 0.05; done; echo after; sleep 1000'";
    // One server has gone, the other one takes nothing.
    for (name, reads_nothing) in [("gone", false), ("stuck", true)] {
        let path = host.path(&format!("{name}.sock"));
        let mut stuck = Some(unixgram(&path));
        if !reads_nothing {
            stuck = None;
        }
        host.sh(&format!(
            "docker run -d --name {name} --log-driver syslog --log-opt syslog-address=unixgram://{} {script}",
            path.display()
        ))
        .ok();
        eventually("the container goes on", || {
            (host.sh(&format!("docker logs --tail 1 {name}")).ok() == "flooded").then_some(())
        });
        assert_eq!(
            host.sh(&format!("docker logs {name} | wc -l")).ok(),
            "100001"
        );
        // It comes back, or comes to itself.
        let mut server = stuck.unwrap_or_else(|| {
            std::fs::remove_file(&path).unwrap();
            unixgram(&path)
        });
        server.gets("]: 1\n");
        server.gets("log entries are missing here");
        host.sh(&format!("docker exec {name} touch /go")).ok();
        let all = server.gets("]: after\n");
        let mut came = 0u64;
        let mut missing = 0u64;
        for line in all.lines() {
            let text = line.split_once("]: ").unwrap().1;
            match text.strip_prefix("[dhow: ") {
                Some(marker) => {
                    missing += marker.split(' ').next().unwrap().parse::<u64>().unwrap()
                }
                None => came += 1,
            }
        }
        assert!(
            missing > 0 && came > 1000,
            "{came} came, {missing} are missing"
        );
        assert_eq!(came + missing, 100_002, "each has come or is counted");
    }
    let quick = host.path("gone.sock");
    std::fs::remove_file(&quick).unwrap();
    drop(unixgram(&quick));
    // Its end comes as soon as that of any other.
    host.sh(&format!(
        "docker run --rm --log-driver syslog --log-opt syslog-address=unixgram://{} busybox echo hello",
        quick.display()
    ))
    .ok();
}

#[test]
fn a_server_that_is_slow_gets_everything() {
    let host = TestHost::start();
    let path = host.path("slow.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    // About 3 MB in small pieces: more than what may wait, and the kernel holds a few of them only.
    let reader = std::thread::spawn(move || {
        let mut received = 0;
        let mut bytes = [0; 1024];
        loop {
            let count = socket.recv(&mut bytes).expect("all come in time");
            received += 1;
            if bytes[..count].ends_with(b"]: 60000\n") {
                return received;
            }
        }
    });
    host.sh(&format!(
        "docker run --name slow --log-driver syslog --log-opt syslog-address=unixgram://{} busybox seq 1 60000 | tail -n 1",
        path.display()
    ))
    .ok();
    assert_eq!(reader.join().unwrap(), 60_000);
    assert_eq!(host.sh("docker logs slow | tail -n 1").ok(), "60000");
}

#[test]
fn servers_are_checked_at_creation() {
    let host = TestHost::start();
    for (options, message) in [
        (
            "syslog --log-opt syslog-address=unix:///no/such.sock",
            "stat /no/such.sock: no such file or directory",
        ),
        (
            "syslog --log-opt syslog-address=http://logs",
            "unsupported scheme: 'http'",
        ),
        (
            "syslog --log-opt syslog-facility=nobody",
            "invalid syslog facility",
        ),
        (
            "syslog --log-opt syslog-format=rfc1",
            "Invalid syslog format",
        ),
        (
            "syslog --log-opt syslog-colour=red",
            "unknown log opt 'syslog-colour' for syslog log driver",
        ),
        (
            "syslog --log-opt syslog-address=tcp+tls://x --log-opt syslog-tls-ca-cert=/no/ca",
            "stat /no/ca: no such file or directory",
        ),
        (
            "syslog --log-opt cache-disabled=maybe",
            "invalid value for option cache-disabled: maybe",
        ),
        (
            "journald --log-opt journald-socket=/no/such.sock",
            "journald is not enabled on this host",
        ),
        (
            "journald --log-opt max-size=1m",
            "unknown log opt 'max-size' for journald log driver",
        ),
    ] {
        let refused = host
            .sh(&format!("docker create --log-driver {options} busybox"))
            .fails(1);
        assert!(refused.contains(message), "{options}: {refused}");
    }
}
