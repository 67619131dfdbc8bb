//! Another host: a network namespace with a cable to the one that is measured.

use std::net::Ipv4Addr;

use anyhow::Result;
use dhow_tests::netns::NetNs;

use crate::programs::output;

/// The two ends' addresses, of those that RFC 5737 has for documentation and no pool has.
pub const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const CABLE: &str = "cable";

pub struct Elsewhere {
    pub netns: NetNs,
    host: NetNs,
}

impl Elsewhere {
    pub fn beside(host: &NetNs) -> Result<Elsewhere> {
        let elsewhere = Elsewhere {
            netns: NetNs::new()?,
            host: host.clone(),
        };
        let far = elsewhere.netns.path();
        shell(
            host,
            &format!(
                "ip link add {CABLE} type veth peer name {CABLE} netns {} && ip addr add {HERE}/24 dev {CABLE} && ip link set {CABLE} up",
                far.display()
            ),
        )?;
        shell(
            &elsewhere.netns,
            &format!("ip addr add {THERE}/24 dev {CABLE} && ip link set {CABLE} up"),
        )?;
        Ok(elsewhere)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // The other end goes with it.
        if let Err(error) = shell(&self.host, &format!("ip link del {CABLE}")) {
            eprintln!("{error:#}");
        }
    }
}

/// A command line in a namespace.
pub fn shell(netns: &NetNs, line: &str) -> Result<()> {
    output(netns.command("sh").args(["-c", line])).map(drop)
}
