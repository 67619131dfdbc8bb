//! The default bridge, published ports, and the two other modes.

use dhow_tests::{Engine, TestHost, eventually};

/// What a container of its own is answered by an HTTP server.
fn get_inside(host: &TestHost, address: &str, port: u16) -> String {
    host.sh(&format!(
        "docker run --rm busybox wget -q -O - http://{address}:{port}/"
    ))
    .stdout
}

#[test]
fn containers_talk_over_the_bridge_and_to_the_host() {
    let host = TestHost::start();
    host.sh("docker run -d --name server busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'").ok();
    let server = host.inspect("server");
    let network = &server["NetworkSettings"]["Networks"]["bridge"];
    let ip = network["IPAddress"].as_str().unwrap_or_default().to_owned();
    let gateway = network["Gateway"].as_str().unwrap_or_default().to_owned();
    eventually("the server answers a container", || {
        get_inside(&host, &ip, 80).ends_with("ahoy\n").then_some(())
    });
    assert_eq!(host.sh(&format!("curl -s http://{ip}/")).ok(), "ahoy");
    let route = host.sh("docker run --rm busybox ip route").ok();
    assert!(
        route.starts_with(&format!("default via {gateway} dev eth0")),
        "{route}"
    );
    let link = host
        .sh("docker run --rm busybox ip -o -4 addr show eth0")
        .ok();
    assert!(
        link.contains(&format!("/{}", network["IPPrefixLen"])),
        "{link}"
    );
    // Its name is in its own hosts file.
    let hosts = host.sh("docker exec server cat /etc/hosts").ok();
    assert!(hosts.contains(&format!("{ip}\t")), "{hosts}");
}

#[test]
fn published_ports() {
    let host = TestHost::start();
    let serve = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'";
    host.sh(&format!(
        "docker run -d --name web -p 8080:80 -p 127.0.0.1:8081:80 -p 80 {serve}"
    ))
    .ok();
    eventually("it answers", || {
        host.sh("curl -s http://127.0.0.1:8080/")
            .stdout
            .eq("ahoy\n")
            .then_some(())
    });
    assert_eq!(host.sh("curl -s http://127.0.0.1:8081/").ok(), "ahoy");
    let gateway = host.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        host.sh(&format!("curl -s http://{gateway}:8080/")).ok(),
        "ahoy"
    );
    // The one on 127.0.0.1 isn't on other addresses.
    assert_ne!(
        host.sh(&format!("curl -s --max-time 2 http://{gateway}:8081/"))
            .code,
        0
    );
    // From another container, through the host's address.
    assert!(get_inside(&host, &gateway, 8080).ends_with("ahoy\n"));
    let ports = host.sh("docker port web").ok();
    assert!(
        ports.contains("80/tcp -> 0.0.0.0:8080") && ports.contains("80/tcp -> 127.0.0.1:8081"),
        "{ports}"
    );
    let chosen = ports
        .lines()
        .filter_map(|line| line.strip_prefix("80/tcp -> 0.0.0.0:"))
        .find(|port| *port != "8080")
        .unwrap_or_else(|| panic!("a port was chosen: {ports}"))
        .to_owned();
    assert_eq!(
        host.sh(&format!("curl -s http://127.0.0.1:{chosen}/")).ok(),
        "ahoy"
    );
    assert!(host.sh("docker ps").ok().contains("0.0.0.0:8080->80/tcp"));
    host.sh("docker rm -f web").ok();
    assert_ne!(
        host.sh("curl -s --max-time 2 http://127.0.0.1:8080/").code,
        0
    );
    // The port is free again.
    host.sh(&format!("docker run -d --name web -p 8080:80 {serve}"))
        .ok();
    eventually("it answers", || {
        host.sh("curl -s http://127.0.0.1:8080/")
            .stdout
            .eq("ahoy\n")
            .then_some(())
    });
}

#[test]
fn a_port_that_is_taken() {
    let host = TestHost::start();
    host.sh("docker run -d --name first -p 8080:80 busybox sleep 1000")
        .ok();
    let message = host
        .sh("docker run -d --name second -p 8080:80 busybox sleep 1000")
        .fails(125);
    let (before, after) = message
        .split_once("failed to set up container networking: ")
        .unwrap_or_else(|| panic!("{message}"));
    assert!(
        before.ends_with("Error response from daemon: "),
        "{message}"
    );
    let after = after.lines().next().unwrap_or_default();
    let rest = after
        .strip_prefix("driver failed programming external connectivity on endpoint second (")
        .unwrap_or_else(|| panic!("{message}"));
    let (id, reason) = rest.split_at(64);
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{message}");
    assert_eq!(
        reason,
        "): Bind for 0.0.0.0:8080 failed: port is already allocated"
    );
    let answer = host.api("POST", "/containers/second/start", None);
    assert_eq!(answer.status, 500, "{answer:#?}");
    // It was made, and didn't start; as with a peer, it stays for a look.
    assert_eq!(host.state("second"), "created");
    // By something that isn't a container.
    let message = host
        .sh("docker run -d --name third -p 5000:80 busybox sleep 1000")
        .fails(125);
    assert!(message.contains("address already in use"), "{message}");
    host.sh("docker rm -f first && docker start second").ok();
}

#[test]
fn published_udp() {
    let host = TestHost::start();
    host.sh("docker run -d --name echo -p 9000:9000/udp busybox sleep 1000")
        .ok();
    // Busybox has no server for datagrams: one of the machine's own programs enters the container's network.
    std::fs::write(
        host.path("echo.py"),
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('0.0.0.0', 9000))\nwhile True:\n    data, peer = s.recvfrom(100)\n    s.sendto(data, peer)\n",
    )
    .unwrap();
    let _server =
        host.spawn("exec nsenter -n -t $(docker inspect -f '{{.State.Pid}}' echo) python3 echo.py");
    let socket = host.netns.run(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:9000").unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_millis(300)))
            .unwrap();
        socket
    });
    eventually("the datagram comes back", || {
        socket.send(b"ahoy").ok()?;
        let mut buffer = [0; 16];
        let n = socket.recv(&mut buffer).ok()?;
        (&buffer[..n] == b"ahoy").then_some(())
    });
}

#[test]
fn none_has_only_the_loopback() {
    let host = TestHost::start();
    let links = host
        .sh("docker run --rm --network none busybox ip -o link")
        .ok();
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo: <LOOPBACK,UP"), "{links}");
}

#[test]
fn host_is_the_hosts() {
    let host = TestHost::start();
    assert_eq!(
        host.sh("docker run --rm --network host busybox readlink /proc/self/ns/net")
            .ok(),
        host.sh("readlink /proc/self/ns/net").ok()
    );
    assert_eq!(
        host.sh("docker run --rm --network host busybox hostname")
            .ok(),
        host.sh("hostname").ok()
    );
}

#[test]
fn names_are_resolved_as_the_host_does_or_as_told() {
    let host = TestHost::start();
    let resolv = host.sh("docker run --rm --dns 10.9.8.7 --dns-search fleet.example --dns-option ndots:2 busybox cat /etc/resolv.conf").ok();
    for line in [
        "nameserver 10.9.8.7",
        "search fleet.example",
        "options ndots:2",
    ] {
        assert!(
            resolv.lines().any(|l| l.trim() == line),
            "{line} in {resolv}"
        );
    }
}

#[test]
fn addresses_come_back() {
    let host = TestHost::start();
    let address = || {
        host.sh("docker run --rm busybox ip -o -4 addr show eth0")
            .ok()
    };
    for _ in 0..5 {
        let inside = address();
        assert!(inside.contains("inet 172."), "{inside}");
    }
    host.sh(
        "docker run -d --name aa busybox sleep 1000; docker run -d --name bb busybox sleep 1000",
    )
    .ok();
    let ip = |name: &str| {
        host.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone()
    };
    assert_ne!(ip("aa"), ip("bb"));
}

#[test]
fn networks_can_be_looked_at() {
    let host = TestHost::start();
    let list = host
        .sh("docker network ls --format '{{.Name}} {{.Driver}}'")
        .ok();
    assert_eq!(list, "bridge bridge\nhost host\nnone null");
    host.sh("docker run -d --name aa busybox sleep 1000").ok();
    let bridge = host.inspect("bridge");
    assert_eq!(bridge["Driver"], "bridge");
    let containers = bridge["Containers"].as_object().unwrap();
    assert_eq!(
        containers.values().next().map(|c| c["Name"].clone()),
        Some("aa".into())
    );
}

#[test]
fn the_host_has_a_name() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        // Docker has it in its desktop programs only.
        return;
    }
    host.sh("docker network create red && docker network create --internal inner")
        .ok();
    let ask = "busybox ping -c 1 -W 5 host.docker.internal";
    for flags in ["", "--network red", "-h other"] {
        host.sh(&format!("docker run --rm {flags} {ask}")).ok();
    }
    let grep = "busybox grep host.docker.internal /etc/hosts";
    for flags in ["--network none", "--network inner"] {
        let found = host.sh(&format!("docker run --rm {flags} {grep}"));
        assert_eq!((found.code, found.stdout.as_str()), (1, ""), "{flags}");
    }
    let own = "--add-host host.docker.internal:10.1.2.3";
    let found = host.sh(&format!("docker run --rm {own} {grep}")).ok();
    assert_eq!(found, "10.1.2.3\thost.docker.internal");
    // It is no wish of the container's.
    host.sh("docker create --name c1 busybox").ok();
    assert!(host.inspect("c1")["HostConfig"]["ExtraHosts"].is_null());
    host.sh("docker rm c1 && docker network rm red inner").ok();
}
