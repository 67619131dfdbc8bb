//! UDP flows that the kernel remembers: they would keep their way when a port becomes published, or is no more.

use std::io;
use std::net::Ipv4Addr;

use super::Firewall;
use crate::conntrack;
use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::Socket;
use crate::rtnl;

impl Firewall {
    pub(super) fn forget_flows(
        &mut self,
        endpoint: Ipv4Addr,
        bindings: &[PortBinding],
        published: bool,
    ) {
        for binding in bindings.iter().filter(|b| b.protocol == Protocol::Udp) {
            if let Err(error) = self.forget_port(endpoint, binding, published) {
                // A sender that never pauses keeps its old way: worth a word, not the container's start.
                tracing::warn!(port = binding.host_port, %error, "cannot forget old UDP flows");
            }
        }
    }

    fn forget_port(
        &mut self,
        endpoint: Ipv4Addr,
        binding: &PortBinding,
        published: bool,
    ) -> io::Result<()> {
        if !published {
            conntrack::forget_udp(&mut self.socket, binding.host_port, |flow| {
                flow.answered_by == endpoint
            })?;
            return Ok(());
        }
        let own: Vec<Ipv4Addr> = if binding.host_ip.is_unspecified() {
            let mut route = Socket::open(libc::NETLINK_ROUTE, 0)?;
            let addresses = rtnl::addresses(&mut route)?;
            addresses.iter().map(|a| a.net.addr()).collect()
        } else {
            vec![binding.host_ip]
        };
        conntrack::forget_udp(&mut self.socket, binding.host_port, |flow| {
            let to_host = own.contains(&flow.destination) || flow.destination.is_loopback();
            to_host && flow.answered_by != endpoint
        })?;
        Ok(())
    }
}
