//! Ways into and out of bridge networks: gateway modes and what goes with them, as Docker has them; and the host's own firewall,
//! which decides over published ports where it is told to.

use dhow_tests::netns::NetNs;
use dhow_tests::{Engine, HostOptions, TestHost, eventually};
use serde_json::Value;

const SERVE: &str = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p [::]:80 -h /tmp'";
const BRIDGE: &str = "com.docker.network.bridge";

/// Another host, on a link with this one: 192.0.2.2 and 192.0.2.1, 2001:db8::2 and 2001:db8::1.
struct Neighbour {
    netns: NetNs,
}

impl Neighbour {
    fn of(host: &TestHost) -> Neighbour {
        let netns = NetNs::new().expect("tests are run as root");
        let path = netns.path();
        host.sh(&format!(
            "ip link add outside type veth peer name inside netns {} && ip addr add 192.0.2.1/24 dev outside \
             && ip addr add 2001:db8::1/64 dev outside nodad && ip link set outside up",
            path.display()
        ))
        .ok();
        let neighbour = Neighbour { netns };
        neighbour.sh("ip addr add 192.0.2.2/24 dev inside");
        neighbour.sh("ip addr add 2001:db8::2/64 dev inside nodad");
        neighbour.sh("ip link set inside up");
        neighbour
    }

    #[track_caller]
    fn sh(&self, line: &str) {
        let status = self.netns.command("sh").args(["-c", line]).status();
        assert!(status.expect("there is a shell").success(), "{line}");
    }

    /// The page of a server, if it is reached.
    fn page(&self, address: &str, seconds: &str) -> Option<String> {
        let mut curl = self.netns.command("curl");
        curl.args(["-g", "-s", "--max-time", seconds]);
        let output = curl.arg(format!("http://{address}/")).output();
        let output = output.expect("there is curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    #[track_caller]
    fn reaches(&self, address: &str) {
        assert_eq!(
            self.page(address, "5").as_deref(),
            Some("ahoy\n"),
            "{address}"
        );
    }

    #[track_caller]
    fn does_not_reach(&self, address: &str) {
        assert_eq!(self.page(address, "0.3"), None, "{address}");
    }
}

fn network(host: &TestHost, name: &str) -> Value {
    let text = host.sh(&format!("docker network inspect {name}")).ok();
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].take()
}

fn serve(host: &TestHost, name: &str, arguments: &str) -> String {
    host.sh(&format!("docker run -d --name {name} {arguments} {SERVE}"))
        .ok();
    let networks = host.inspect(name)["NetworkSettings"]["Networks"].take();
    let all = networks.as_object().expect("networks");
    let first = all.values().next().expect("one");
    let address = first["IPAddress"].as_str().unwrap_or_default().to_owned();
    eventually("the server runs", || {
        let asked = host.sh(&format!("docker exec {name} wget -q -O - 127.0.0.1:80"));
        (asked.code == 0).then_some(())
    });
    address
}

/// Those of the host's IPv4 addresses that a port is published on, each once.
fn host_ports(host: &TestHost, container: &str, port: &str) -> Vec<String> {
    let bindings = host.inspect(container)["NetworkSettings"]["Ports"][port].take();
    let all = bindings.as_array().into_iter().flatten();
    let text = |binding: &Value| binding["HostPort"].as_str().unwrap_or_default().to_owned();
    let mut ports: Vec<String> = all
        .filter(|binding| binding["HostIp"] == "0.0.0.0")
        .map(text)
        .collect();
    ports.dedup();
    ports
}

#[test]
fn gateway_modes() {
    let host = TestHost::start();
    let world = Neighbour::of(&host);
    for (name, subnet, options) in [
        (
            "plain",
            "10.91.0.0/24",
            format!("-o {BRIDGE}.gateway_mode_ipv4=nat"),
        ),
        (
            "open",
            "10.92.0.0/24",
            format!("-o {BRIDGE}.gateway_mode_ipv4=nat-unprotected"),
        ),
        (
            "routed",
            "10.93.0.0/24",
            format!("-o {BRIDGE}.gateway_mode_ipv4=routed"),
        ),
        (
            "trusting",
            "10.94.0.0/24",
            format!("-o {BRIDGE}.trusted_host_interfaces=eth7:outside"),
        ),
        (
            "alone",
            "10.95.0.0/24",
            format!("--internal -o {BRIDGE}.gateway_mode_ipv4=isolated"),
        ),
    ] {
        host.sh(&format!(
            "docker network create --subnet {subnet} {options} {name}"
        ))
        .ok();
        world.sh(&format!("ip route add {subnet} via 192.0.2.1"));
    }
    let plain = serve(&host, "cp", "--network plain -p 8001:80");
    let open = serve(&host, "co", "--network open -p 8002:80");
    let routed = serve(
        &host,
        "cr",
        "--network routed -p 8003:80 -p 127.0.0.1:8013:80 -p 9000",
    );
    let trusting = serve(&host, "ct", "--network trusting -p 8004:80");
    let hidden = serve(&host, "ch", "--network routed");
    world.reaches("192.0.2.1:8001");
    world.does_not_reach(&plain);
    world.reaches("192.0.2.1:8002");
    world.reaches(&open);
    world.does_not_reach("192.0.2.1:8003");
    world.reaches(&routed);
    world.does_not_reach(&hidden);
    world.reaches("192.0.2.1:8004");
    world.reaches(&trusting);

    // From another network the container's own address is a way in routed mode only.
    let from_plain = |address: &str| {
        host.sh(&format!(
            "docker exec cp timeout 1 wget -q -O - {address}:80"
        ))
    };
    assert_eq!(from_plain(&routed).ok(), "ahoy");
    assert_ne!(from_plain(&trusting).code, 0);
    assert_ne!(from_plain(&hidden).code, 0);
    // As Docker documents it, though its engine lets them.
    if host.engine == Engine::Dhow {
        assert_ne!(from_plain(&open).code, 0);
    }

    // Of the host a routed port has nothing, whatever was asked for.
    for port in ["80/tcp", "9000/tcp"] {
        assert_eq!(host_ports(&host, "cr", port), [""], "{port}");
    }
    assert_eq!(host_ports(&host, "cp", "80/tcp"), ["8001"]);
    let ports = host.sh("docker port cr").ok();
    assert!(ports.lines().any(|line| line == "9000/tcp -> 0.0.0.0:"));
    if host.engine == Engine::Dhow {
        let listed = host.sh("docker ps --filter name=^cr$ --format '{{.Ports}}'");
        assert_eq!(listed.ok(), "80/tcp, 9000/tcp");
    }
    host.sh("docker network create --internal inner").ok();
    serve(&host, "ci", "--network inner");
    let inner = host.inspect("ci")["NetworkSettings"]["Networks"]["inner"].take();
    assert_eq!(inner["Gateway"], "", "{inner}");
    host.sh("docker rm -f ci && docker network rm inner").ok();

    // No gateway: not even the host is reached.
    let config = network(&host, "alone")["IPAM"]["Config"].take();
    assert_eq!(config[0]["Gateway"], Value::Null, "{config}");
    let alone = serve(&host, "ca", "--network alone");
    assert_eq!(alone, "10.95.0.1");
    let of_alone = host.inspect("ca")["NetworkSettings"]["Networks"]["alone"].take();
    assert_eq!(of_alone["Gateway"], "", "{of_alone}");
    let bridge = &network(&host, "alone")["Id"].as_str().unwrap_or_default()[..12].to_owned();
    assert!(
        !host
            .sh(&format!("ip -4 addr show dev br-{bridge}"))
            .ok()
            .contains("inet")
    );
    assert_ne!(
        host.sh(&format!("curl -s --max-time 0.3 http://{alone}/"))
            .code,
        0
    );

    for (options, why) in [
        (
            format!("-o {BRIDGE}.gateway_mode_ipv4=bridged"),
            "unknown gateway mode bridged",
        ),
        (
            format!("-o {BRIDGE}.gateway_mode_ipv6=isolated"),
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (
            "-o com.docker.network.host_ipv4=x".to_owned(),
            "failed to parse com.docker.network.host_ipv4 value: x (nil ip)",
        ),
    ] {
        let refused = host.sh(&format!("docker network create {options} bad"));
        assert!(
            refused.code != 0 && refused.stderr.contains(why),
            "{refused:?}"
        );
    }
    host.sh("docker rm -f cp co cr ct ch ca && docker network rm plain open routed trusting alone")
        .ok();
}

#[test]
fn ports_follow_to_a_network_of_another_mode() {
    let mut host = TestHost::start();
    let world = Neighbour::of(&host);
    host.sh("docker network create --subnet 10.91.0.0/24 b-plain")
        .ok();
    host.sh(&format!(
        "docker network create --subnet 10.93.0.0/24 -o {BRIDGE}.gateway_mode_ipv4=routed a-routed"
    ))
    .ok();
    world.sh("ip route add 10.93.0.0/24 via 192.0.2.1");
    serve(&host, "cs", "--network b-plain -p 8001:80");
    world.reaches("192.0.2.1:8001");
    host.sh("docker network connect --gw-priority 1 a-routed cs")
        .ok();
    let at = "10.93.0.2";
    world.reaches(at);
    world.does_not_reach("192.0.2.1:8001");
    assert_eq!(host_ports(&host, "cs", "80/tcp"), [""]);
    if host.engine == Engine::Dhow {
        // The port of the host is free for others meanwhile.
        serve(&host, "other", "-p 8001:80");
        host.sh("docker rm -f other").ok();
        host.kill_daemon();
        host.start_daemon();
        world.reaches(at);
    }
    host.sh("docker network disconnect a-routed cs").ok();
    world.reaches("192.0.2.1:8001");
    world.does_not_reach(at);
    // It is held again, also by the shim alone.
    let taken = host.sh("docker run --rm -p 8001:80 busybox true");
    assert!(
        taken.stderr.contains("port is already allocated"),
        "{taken:?}"
    );
    let listener = host.sh("busybox timeout 1 busybox nc -l -p 8001");
    assert!(listener.stderr.contains("in use"), "{listener:?}");
    host.sh("docker rm -f cs && docker network rm b-plain a-routed")
        .ok();
}

#[test]
fn what_networks_have_by_default() {
    let daemon = [
        "--allow-direct-routing",
        "--bridge-accept-fwmark=0x7/0xf",
        "--default-network-opt=bridge=com.docker.network.driver.mtu=1400",
        "--default-network-opt=bridge=com.docker.network.enable_ipv6=true",
        "--default-network-opt=bridge=com.docker.network.host_ipv4=192.0.2.77",
    ];
    let host = TestHost::with(HostOptions {
        daemon: daemon.map(str::to_owned).to_vec(),
        ..HostOptions::default()
    });
    let world = Neighbour::of(&host);
    host.sh("ip addr add 192.0.2.77/24 dev outside").ok();
    host.sh("docker network create --subnet 10.91.0.0/24 n")
        .ok();
    let shown = network(&host, "n");
    assert_eq!(shown["Options"]["com.docker.network.driver.mtu"], "1400");
    assert_eq!(shown["EnableIPv6"], true);
    host.sh("docker network create --ipv6=false -o com.docker.network.driver.mtu=1300 own")
        .ok();
    let own = network(&host, "own");
    assert_eq!(own["Options"]["com.docker.network.driver.mtu"], "1300");
    assert_eq!(own["EnableIPv6"], false);
    world.sh("ip route add 10.91.0.0/24 via 192.0.2.1");
    let published = serve(&host, "cp", "--network n -p 8001:80");
    let hidden = serve(&host, "ch", "--network n");
    world.reaches("192.0.2.1:8001");
    world.reaches(&published);
    world.does_not_reach(&hidden);
    host.sh(
        "nft add table inet admin && nft 'add chain inet admin marks { type filter hook forward priority -20; }' \
         && nft add rule inet admin marks ip saddr 192.0.2.2 meta mark set 0x17",
    )
    .ok();
    world.reaches(&hidden);
    host.sh("nft delete table inet admin && docker rm -f cp ch && docker network rm n own")
        .ok();
}

#[test]
fn the_hosts_own_firewall_decides_over_published_ports() {
    if Engine::under_test() != Engine::Dhow {
        return;
    }
    let mut host = TestHost::with(HostOptions {
        daemon: vec!["--host-firewall".to_owned()],
        ..HostOptions::default()
    });
    let world = Neighbour::of(&host);
    // As an administrator has it: what isn't allowed is dropped.
    let rules = host.path("rules.nft");
    let text = "table inet filter {
            chain input {
                type filter hook input priority filter; policy drop;
                iif lo accept
                ct state established,related accept
                ct state invalid drop
                meta l4proto icmpv6 accept
                tcp dport { 22, 8001 } accept
                ip saddr 192.0.2.0/31 tcp dport 8002 accept
            }
        }";
    std::fs::write(&rules, text).expect("the host's directory is writable");
    host.sh(&format!("nft -f {}", rules.display())).ok();
    host.sh("docker network create --ipv6 n").ok();
    serve(&host, "ca", "--network n -p 8001:80 -p 8002:80 -p 8003:80");
    let as_the_rules_say = |host: &TestHost| {
        world.reaches("192.0.2.1:8001");
        world.reaches("[2001:db8::1]:8001");
        for port in [8002, 8003] {
            world.does_not_reach(&format!("192.0.2.1:{port}"));
            world.does_not_reach(&format!("[2001:db8::1]:{port}"));
        }
        // Programs of the host don't meet its input rules.
        host.sh("curl -s --max-time 5 http://127.0.0.1:8003/").ok();
    };
    as_the_rules_say(&host);
    // While no daemon is there, and by the next one.
    host.kill_daemon();
    as_the_rules_say(&host);
    host.start_daemon();
    as_the_rules_say(&host);
    // A reload of the host's firewall, which flushes all rules, with another of its own and one of the administrator's chain.
    let more = format!(
        "flush ruleset\n{}\ntable inet dhow-user {{\n chain forward {{\n type filter hook forward priority filter - 10;\n \
         meta l4proto tcp ct original proto-dst 8001 drop\n }}\n}}\n",
        text.replace("8002", "8003").replace("/31", "/24")
    );
    std::fs::write(&rules, more).expect("the host's directory is writable");
    host.sh(&format!("nft -f {}", rules.display())).ok();
    eventually("our rules are back", || world.page("192.0.2.1:8003", "0.5"));
    world.does_not_reach("192.0.2.1:8001");
    world.does_not_reach("192.0.2.1:8002");
    let kept = host.sh("nft list table inet dhow-user").ok();
    assert!(kept.contains("8001 drop"), "{kept}");
    host.sh("nft delete table inet filter && nft flush table inet dhow-user")
        .ok();
    host.sh("docker rm -f ca && docker network rm n").ok();
}
