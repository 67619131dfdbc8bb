//! A container's ways out: which of its networks they lead by.

use dhow_net::{Gateways, Way};

use super::EndpointRecord;
use super::target::Target;

/// Which of the networks is the way out: that of the highest priority, of several the first by name. An internal one never is.
pub fn way_out(targets: &[Target]) -> Option<usize> {
    way_out_of(targets, |_| true)
}

fn way_out_of(targets: &[Target], among: impl Fn(usize) -> bool) -> Option<usize> {
    let leading = targets.iter().enumerate();
    leading
        .filter(|(at, t)| among(*at) && !t.internal())
        .min_by_key(|(_, t)| (-i128::from(t.settings.gw_priority), t.name.clone()))
        .map(|(at, _)| at)
}

/// Which network's endpoint has the container's ports: that of its way out, unless that is on a wire of the host's, where
/// whoever wants a container asks it by its own address.
pub fn of_ports(targets: &[Target]) -> Option<usize> {
    way_out(targets).filter(|at| !targets[*at].is_lan())
}

/// The ways out of each family. Not every network has IPv6, and not every one has a gateway.
pub fn gateways(targets: &[Target], endpoints: &[EndpointRecord]) -> Gateways {
    let ip = way_out(targets);
    let ipv6 = way_out_of(targets, |at| endpoints[at].ipv6.is_some());
    let by_link = |at: usize| {
        let by_link = targets[at].routes_by_link();
        by_link.then(|| endpoints[at].link_name())
    };
    Gateways {
        ip: ip.and_then(|at| way(by_link(at), endpoints[at].gateway)),
        ipv6: ipv6.and_then(|at| way(by_link(at), endpoints[at].ipv6?.gateway)),
    }
}

fn way<A>(by_link: Option<String>, gateway: Option<A>) -> Option<Way<A>> {
    by_link.map(Way::Link).or(gateway.map(Way::Gateway))
}
