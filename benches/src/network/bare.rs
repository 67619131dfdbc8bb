//! The floor of traffic: the same paths without an engine. Two namespaces on a bridge, another host whose packets are
//! routed to them, and no rule anywhere, nor a connection that is tracked.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use anyhow::Result;
use dhow_tests::netns::NetNs;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::elsewhere::{Elsewhere, HERE, shell};
use super::load::{From, PROGRAM};
use crate::programs::beside;

const BRIDGE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

pub struct Bare {
    program: Child,
    elsewhere: Elsewhere,
    client: NetNs,
    host: NetNs,
}

impl Bare {
    pub fn set_up(port: u16) -> Result<Bare> {
        let (host, server, client) = (NetNs::new()?, NetNs::new()?, NetNs::new()?);
        shell(
            &host,
            &format!(
                "sysctl -qw net.ipv4.ip_forward=1 && ip link add bridge type bridge && ip addr add {BRIDGE}/24 dev bridge && ip link set bridge up"
            ),
        )?;
        for (name, netns, address) in [("server", &server, SERVER), ("client", &client, CLIENT)] {
            let far = netns.path();
            shell(
                &host,
                &format!(
                    "ip link add {name} type veth peer name inside netns {} && ip link set {name} master bridge up",
                    far.display()
                ),
            )?;
            shell(
                netns,
                &format!(
                    "ip addr add {address}/24 dev inside && ip link set inside up && ip route add default via {BRIDGE}"
                ),
            )?;
        }
        let elsewhere = Elsewhere::beside(&host)?;
        shell(
            &elsewhere.netns,
            &format!("ip route add {SERVER} via {HERE}"),
        )?;
        let mut program = server.command(beside(PROGRAM)?);
        program
            .args(["serve", &port.to_string()])
            .stdin(Stdio::null());
        // SAFETY: a single system call between fork and exec.
        unsafe { program.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        Ok(Bare {
            program: program.spawn()?,
            elsewhere,
            client,
            host,
        })
    }

    /// Who connects on the path of this number, and to whom.
    pub fn path(&self, number: usize) -> (From<'_>, Ipv4Addr) {
        let from = match number {
            0 => &self.client,
            1 => &self.host,
            _ => &self.elsewhere.netns,
        };
        (From::Namespace(from), SERVER)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
