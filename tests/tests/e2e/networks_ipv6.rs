//! IPv6 beside IPv4: on networks that a client makes and on the default one; addresses, names, ports, and who keeps them.

use dhow_tests::{Engine, HostOptions, TestHost};
use serde_json::Value;

const SERVE: &str = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p [::]:80 -h /tmp'";

fn network(host: &TestHost, name: &str) -> Value {
    let text = host.sh(&format!("docker network inspect {name}")).ok();
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].take()
}

fn endpoint(host: &TestHost, container: &str, network: &str) -> Value {
    host.inspect(container)["NetworkSettings"]["Networks"][network].take()
}

/// The page of a server, asked for by a program of the host.
fn page(host: &TestHost, address: &str) -> String {
    host.sh(&format!("curl -g -s --max-time 5 http://{address}/"))
        .stdout
}

#[test]
fn a_network_of_both_families() {
    let mut host = TestHost::start();
    host.sh("docker network create --ipv6 both").ok();
    let shown = network(&host, "both");
    assert_eq!(shown["EnableIPv6"], true);
    let config = shown["IPAM"]["Config"].as_array().expect("two subnets");
    assert_eq!(config.len(), 2);
    let subnet = config[1]["Subnet"].as_str().expect("a subnet").to_owned();
    assert!(
        subnet.starts_with("fd") && subnet.ends_with("/64"),
        "{subnet}"
    );
    let listed = host.sh("docker network ls --filter name=both --format '{{.Name}} {{.IPv6}}'");
    assert_eq!(listed.ok(), "both true");

    host.sh(&format!(
        "docker run -d --name web --network both --network-alias www -p 8080:80 {SERVE}"
    ))
    .ok();
    host.sh("docker run -d --name c2 --network both busybox sleep 1000")
        .ok();
    let web = endpoint(&host, "web", "both");
    let six = web["GlobalIPv6Address"]
        .as_str()
        .expect("an address")
        .to_owned();
    assert_eq!(web["GlobalIPv6PrefixLen"], 64);
    assert_eq!(
        web["IPv6Gateway"],
        config[1]["Gateway"]
            .as_str()
            .unwrap_or_default()
            .trim_end_matches("/64")
    );
    let members = network(&host, "both")["Containers"].take();
    let of_web = &members[host.id("web")];
    assert_eq!(of_web["IPv6Address"], format!("{six}/64"));
    // By its address, its name and its alias; and the name of its address.
    for to in [six.as_str(), "web", "www"] {
        host.sh(&format!("docker exec c2 ping -6 -c 1 -W 5 {to}"))
            .ok();
        host.sh(&format!(
            "docker exec c2 ping -4 -c 1 -W 5 {}",
            to.replace(&six, "web")
        ))
        .ok();
    }
    let asked = host.sh("docker exec c2 nslookup -type=aaaa web").stdout;
    assert!(asked.contains(&six), "{asked}");
    let asked = host.sh(&format!("docker exec c2 nslookup {six}")).stdout;
    assert!(asked.contains("web.both"), "{asked}");
    // Its own hosts file has both.
    let hosts = host.sh("docker exec web cat /etc/hosts").ok();
    assert!(hosts.lines().any(|line| line.starts_with(&six)), "{hosts}");

    // Published in both families, and for one alone.
    let ports = host.sh("docker port web").ok();
    assert_eq!(ports, "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
    let gateway = config[1]["Gateway"].as_str().unwrap_or_default().to_owned();
    let gateway = gateway.trim_end_matches("/64");
    assert_eq!(page(&host, "127.0.0.1:8080"), "ahoy\n");
    assert_eq!(page(&host, &format!("[{gateway}]:8080")), "ahoy\n");
    // By a name that has both loopback addresses.
    assert_eq!(page(&host, "localhost:8080"), "ahoy\n");
    assert_eq!(page(&host, &format!("[{six}]")), "ahoy\n");
    let refused = host.sh(&format!(
        "docker run -d --name web2 --network both -p [::]:8080:80 {SERVE}"
    ));
    assert!(
        refused.stderr.contains("port is already allocated"),
        "{refused:?}"
    );
    host.sh("docker rm web2").ok();

    // An address of one's own, and what cannot be had.
    let (network_part, _) = subnet.split_once("::/64").expect("a short form");
    let wanted = format!("{network_part}::77");
    host.sh(&format!(
        "docker run -d --name c3 --network both --ip6 {wanted} busybox sleep 1000"
    ))
    .ok();
    assert_eq!(
        endpoint(&host, "c3", "both")["GlobalIPv6Address"],
        wanted.as_str()
    );
    let taken = host.sh(&format!(
        "docker run --rm --network both --ip6 {wanted} busybox true"
    ));
    assert!(
        taken.code != 0 && taken.stderr.contains("Address already in use"),
        "{taken:?}"
    );
    let outside = host.sh("docker run --rm --network both --ip6 2001:db8::1 busybox true");
    assert!(
        outside
            .stderr
            .contains("no configured subnet contains IP address 2001:db8::1"),
        "{outside:?}"
    );

    if host.engine == Engine::Dhow {
        host.kill_daemon();
        assert_eq!(page(&host, &format!("[{gateway}]:8080")), "ahoy\n");
        host.start_daemon();
        assert_eq!(
            endpoint(&host, "web", "both")["GlobalIPv6Address"],
            six.as_str()
        );
        assert_eq!(page(&host, &format!("[{gateway}]:8080")), "ahoy\n");
        let taken = host.sh(&format!(
            "docker run --rm --network both --ip6 {wanted} busybox true"
        ));
        assert!(taken.stderr.contains("Address already in use"), "{taken:?}");
        host.sh("docker exec c2 ping -6 -c 1 -W 5 web").ok();
    }
    host.sh("docker rm -f web c2 c3 && docker network rm both")
        .ok();
}

#[test]
fn coming_to_it_and_leaving_it_while_running() {
    let host = TestHost::start();
    host.sh("docker network create --ipv6 --subnet 10.7.0.0/24 --subnet fd00:7::/64 --ip-range fd00:7::100/120 --gateway fd00:7::9 --aux-address router=fd00:7::100 both")
        .ok();
    host.sh("docker network create plain").ok();
    host.sh("docker network create --internal --ipv6 inner")
        .ok();
    host.sh("docker run -d --name c1 --network plain busybox sleep 1000")
        .ok();
    let routes = || host.sh("docker exec c1 ip -6 route show default").ok();
    assert_eq!(endpoint(&host, "c1", "plain")["GlobalIPv6Address"], "");
    assert_eq!(routes(), "");
    host.sh("docker network connect both c1").ok();
    assert_eq!(
        endpoint(&host, "c1", "both")["GlobalIPv6Address"],
        "fd00:7::101"
    );
    // The way out in each family is that of the network that has it.
    assert!(routes().contains("via fd00:7::9"), "{}", routes());
    let hosts = || host.sh("docker exec c1 cat /etc/hosts").ok();
    assert!(hosts().contains("fd00:7::101"));
    host.sh("docker network connect inner c1").ok();
    assert!(routes().contains("via fd00:7::9"), "{}", routes());
    host.sh("docker network disconnect both c1").ok();
    assert_eq!(routes(), "");
    assert!(!hosts().contains("fd00:7::101"));
    host.sh("docker network disconnect inner c1 && docker network connect --ip6 fd00:7::5 both c1")
        .ok();
    assert_eq!(
        endpoint(&host, "c1", "both")["GlobalIPv6Address"],
        "fd00:7::5"
    );

    for (flags, why) in [
        (
            "--ipv6 --subnet fd00:7::/80",
            "Pool overlaps with other one on this address space",
        ),
        ("--ipv6 --subnet fd00:8::1/64", "it should be fd00:8::/64"),
        (
            "--ipv6 --subnet fd00:8::/64 --gateway fd00:9::1",
            "no matching subnet",
        ),
    ] {
        let refused = host.sh(&format!("docker network create {flags} bad"));
        assert!(
            refused.code != 0 && refused.stderr.contains(why),
            "{flags}: {refused:?}"
        );
    }
    host.sh("docker rm -f c1 && docker network rm both plain inner")
        .ok();
}

#[test]
fn on_the_default_network() {
    let options = |flags: &[&str]| HostOptions {
        daemon: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..HostOptions::default()
    };
    let host = TestHost::with(options(&["--ipv6", "--fixed-cidr-v6", "fd00:6::/64"]));
    assert_eq!(network(&host, "bridge")["EnableIPv6"], true);
    host.sh(&format!("docker run -d --name web -P --expose 80 {SERVE}"))
        .ok();
    let six = endpoint(&host, "web", "bridge")["GlobalIPv6Address"].take();
    let six = six.as_str().expect("an address");
    assert!(six.starts_with("fd00:6::"), "{six}");
    assert_eq!(page(&host, &format!("[{six}]")), "ahoy\n");
    let ports = host.sh("docker port web").ok();
    let [four, both]: [&str; 2] = ports
        .lines()
        .collect::<Vec<_>>()
        .try_into()
        .expect("two lines");
    let number = four.rsplit(':').next().expect("a port");
    assert!(both.ends_with(&format!("[::]:{number}")), "{ports}");
    assert_eq!(page(&host, &format!("[fd00:6::1]:{number}")), "ahoy\n");
    host.sh(&format!(
        "docker run --rm busybox wget -q -O - http://[{six}]/"
    ))
    .ok();
    host.sh("docker rm -f web").ok();
}
