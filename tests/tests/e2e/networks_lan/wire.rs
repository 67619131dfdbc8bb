//! A wire with a host at one end and another machine at the other, and what is asked of containers on it.

use dhow_tests::netns::NetNs;
use dhow_tests::{TestHost, eventually};
use serde_json::Value;

/// A wire with another machine at its end.
pub struct Wire {
    other: NetNs,
}

/// The host's end.
pub const PARENT: &str = "lan0";

impl Wire {
    /// The other machine has 10.77.0.1 and fd00:77::1.
    pub fn new(host: &TestHost) -> Wire {
        let other = NetNs::new().expect("tests are run as root");
        let make = format!(
            "ip link add {PARENT} type veth peer name end netns {} && ip link set {PARENT} up",
            // Another process must be able to open it.
            other.path().display()
        );
        host.sh(&make).ok();
        let wire = Wire { other };
        wire.run("ip link set end up && ip addr add 10.77.0.1/24 dev end && ip addr add fd00:77::1/64 dev end nodad");
        wire
    }

    /// On the other machine.
    fn try_run(&self, line: &str) -> bool {
        let status = self.other.command("sh").args(["-c", line]).output();
        status.expect("there is a shell").status.success()
    }

    #[track_caller]
    pub fn run(&self, line: &str) {
        assert!(self.try_run(line), "{line}");
    }

    /// Whether the other machine reaches an address.
    pub fn reaches(&self, ip: &str) -> bool {
        self.try_run(&format!("busybox ping -c 1 -W 2 {ip}"))
    }

    pub fn remove(self, host: &TestHost) {
        host.sh(
            "docker ps -aq | xargs -r docker rm -f >/dev/null; docker network prune -f >/dev/null",
        )
        .ok();
        host.sh(&format!("ip link del {PARENT}")).ok();
    }
}

/// Whether the kernel has a kind of link; if not, this is said.
pub fn has(host: &TestHost, kind: &str) -> bool {
    let (below, more) = match kind {
        "dummy" => ("", ""),
        "vlan" => ("link probe0", "id 7"),
        _ => ("link probe0", ""),
    };
    let tried = host.sh(&format!(
        "ip link add probe0 type veth peer name probe1 && ip link add {below} name probe2 type {kind} {more}"
    ));
    let _ = host.sh("ip link del probe2; ip link del probe0");
    if tried.code != 0 {
        println!("skipped: the kernel has no {kind}");
    }
    tried.code == 0
}

#[track_caller]
pub fn refused(host: &TestHost, command: &str, sentence: &str) {
    let done = host.sh(command);
    assert!(
        done.code != 0 && done.stderr.contains(sentence),
        "{command}: {done:?}"
    );
}

pub fn endpoint(host: &TestHost, container: &str, network: &str) -> Value {
    host.inspect(container)["NetworkSettings"]["Networks"][network].take()
}

pub fn ip(host: &TestHost, container: &str, network: &str) -> String {
    let endpoint = endpoint(host, container, network);
    let ip = endpoint["IPAddress"].as_str();
    ip.unwrap_or_default().to_owned()
}

/// Whether a container reaches a name or an address.
pub fn reaches(host: &TestHost, from: &str, to: &str) -> bool {
    host.sh(&format!("docker exec {from} ping -c 1 -W 2 {to}"))
        .code
        == 0
}

/// The parent's hardware address.
pub fn mac(host: &TestHost) -> String {
    host.sh(&format!("ip -j link show {PARENT} | jq -r .[0].address"))
        .ok()
}

pub fn routes(host: &TestHost, container: &str) -> String {
    host.sh(&format!("docker exec {container} ip route")).ok()
}

pub fn has_link(host: &TestHost, name: &str) -> bool {
    host.sh(&format!("ip link show {name}")).code == 0
}

/// A server on a network, with further flags.
pub fn serve(host: &TestHost, name: &str, flags: &str) {
    host.sh(&format!(
        "docker run -d --name {name} {flags} busybox sh -c 'echo {name} >/tmp/index.html; exec httpd -f -p [::]:80 -h /tmp'"
    ))
    .ok();
    eventually("it serves", || {
        let asked = host.sh(&format!("docker exec {name} wget -q -O- http://127.0.0.1/"));
        (asked.code == 0).then_some(())
    });
}

pub const MACVLAN: &str = "docker network create -d macvlan -o parent=lan0";
