//! UDP flows that the kernel remembers: they would keep their way when a port becomes published, or is no more.

use std::io;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Firewall;
use crate::conntrack;
use crate::endpoint::{Addresses, PortBinding, Protocol};
use crate::netlink::Socket;
use crate::nft::wire::Family;
use crate::rtnl;

impl Firewall {
    pub(super) fn forget_flows(
        &mut self,
        endpoint: Addresses,
        bindings: &[PortBinding],
        published: bool,
    ) {
        let of_host = |b: &&PortBinding| b.protocol == Protocol::Udp && b.host_port != 0;
        for binding in bindings.iter().filter(of_host) {
            if let Err(error) = self.forget_port(endpoint, binding, published) {
                // A sender that never pauses keeps its old way: worth a word, not the container's start.
                tracing::warn!(port = binding.host_port, %error, "cannot forget old UDP flows");
            }
        }
    }

    fn forget_port(
        &mut self,
        endpoint: Addresses,
        binding: &PortBinding,
        published: bool,
    ) -> io::Result<()> {
        let Some(behind) = endpoint.behind(binding.host_ip) else {
            return Ok(());
        };
        let family = Family::of(binding.host_ip);
        if !published {
            conntrack::forget_udp(&mut self.socket, family, binding.host_port, |flow| {
                flow.answered_by == behind
            })?;
            return Ok(());
        }
        let own: Vec<IpAddr> = if binding.host_ip.is_unspecified() {
            let mut route = Socket::open(libc::NETLINK_ROUTE, 0)?;
            match family {
                Family::Ip => own::<Ipv4Net>(&mut route)?,
                Family::Ip6 => own::<Ipv6Net>(&mut route)?,
            }
        } else {
            vec![binding.host_ip]
        };
        conntrack::forget_udp(&mut self.socket, family, binding.host_port, |flow| {
            let to_host = own.contains(&flow.destination) || flow.destination.is_loopback();
            to_host && flow.answered_by != behind
        })?;
        Ok(())
    }
}

/// The host's addresses of a family.
fn own<N: rtnl::Family + Into<IpNet>>(socket: &mut Socket) -> io::Result<Vec<IpAddr>> {
    let all = rtnl::addresses::<N>(socket)?;
    Ok(all.into_iter().map(|a| a.net.into().addr()).collect())
}
