//! Addresses of one subnet: which are taken, and which comes next.
//!
//! Invariant: an address is given to one holder at a time, and the network, broadcast and gateway addresses to none. The search
//! goes on from the address given last, so that one that has been given back rests for as long as the subnet allows: peers,
//! caches and connection tracking have forgotten its last holder by then.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::{Error, Result};

/// The taken addresses are a set rather than a bitmap: a /8 costs what its containers cost, not two megabytes.
#[derive(Debug)]
pub struct Ipam {
    subnet: Ipv4Net,
    range: Ipv4Net,
    gateway: Ipv4Addr,
    taken: HashSet<Ipv4Addr>,
    first: u32,
    last: u32,
    next: u32,
}

impl Ipam {
    /// Addresses of `range`, which is the subnet or a part of it.
    pub fn new(subnet: Ipv4Net, range: Option<Ipv4Net>, gateway: Ipv4Addr) -> Result<Self> {
        let subnet = subnet.trunc();
        let range = range.unwrap_or(subnet).trunc();
        if !subnet.contains(&range) {
            return Err(Error::RangeOutsideSubnet { range, subnet });
        }
        let first = u32::from(range.network()).max(u32::from(subnet.network()) + 1);
        let last = u32::from(range.broadcast()).min(u32::from(subnet.broadcast()) - 1);
        Ok(Ipam {
            subnet,
            range,
            gateway,
            taken: HashSet::new(),
            first,
            last,
            next: first,
        })
    }

    /// The next free address.
    pub fn allocate(&mut self) -> Result<Ipv4Addr> {
        let span = u64::from(self.last) - u64::from(self.first) + 1;
        for step in 0..span {
            // Both operands fit: the offset is less than the span, which is at most the size of the address space.
            let offset = (u64::from(self.next - self.first) + step) % span;
            let number = self.first + offset as u32;
            let ip = Ipv4Addr::from(number);
            if ip != self.gateway && self.taken.insert(ip) {
                self.next = if number == self.last {
                    self.first
                } else {
                    number + 1
                };
                return Ok(ip);
            }
        }
        Err(Error::Exhausted(self.range))
    }

    /// Just this address. It may lie outside the range that others come from, not outside the subnet.
    pub fn claim(&mut self, ip: Ipv4Addr) -> Result<()> {
        let usable = self.subnet.contains(&ip)
            && ip != self.subnet.network()
            && ip != self.subnet.broadcast();
        if !usable {
            return Err(Error::AddressOutsideSubnet {
                ip,
                range: self.subnet,
            });
        }
        if ip == self.gateway || !self.taken.insert(ip) {
            return Err(Error::AddressInUse(ip));
        }
        Ok(())
    }

    /// Takes an address over from an earlier daemon, and goes on after it.
    pub fn adopt(&mut self, ip: Ipv4Addr) -> Result<()> {
        self.claim(ip)?;
        let number = u32::from(ip);
        if (self.next..self.last).contains(&number) {
            self.next = number + 1;
        }
        Ok(())
    }

    /// Gives an address back. Giving back a free one changes nothing.
    pub fn release(&mut self, ip: Ipv4Addr) {
        self.taken.remove(&ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn ipam(subnet: &str, range: Option<&str>) -> Ipam {
        let subnet: Ipv4Net = subnet.parse().unwrap();
        Ipam::new(
            subnet,
            range.map(|r| r.parse().unwrap()),
            subnet.hosts().next().unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn goes_on_from_the_last_and_reuses_late() {
        let mut ipam = ipam("10.0.0.0/29", None);
        let all: Vec<_> = (0..5)
            .map(|_| ipam.allocate().unwrap().octets()[3])
            .collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert_eq!(
            ipam.allocate().unwrap_err().to_string(),
            "no available IPv4 addresses on this network's address pools: all of 10.0.0.0/29 are in use"
        );
        ipam.release(ip("10.0.0.3"));
        ipam.release(ip("10.0.0.2"));
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.2"));
        ipam.release(ip("10.0.0.2"));
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.3"));
    }

    #[test]
    fn explicit_addresses() {
        let mut ipam = ipam("10.0.0.0/24", Some("10.0.0.128/25"));
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.128"));
        ipam.claim(ip("10.0.0.5")).unwrap();
        assert!(
            ipam.claim(ip("10.0.0.5"))
                .unwrap_err()
                .to_string()
                .starts_with("Address already in use")
        );
        for outside in ["10.0.1.5", "10.0.0.0", "10.0.0.255"] {
            assert!(
                matches!(
                    ipam.claim(ip(outside)),
                    Err(Error::AddressOutsideSubnet { .. })
                ),
                "{outside}"
            );
        }
        assert!(matches!(
            ipam.claim(ip("10.0.0.1")),
            Err(Error::AddressInUse(_))
        ));
        ipam.adopt(ip("10.0.0.140")).unwrap();
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.141"));
    }

    #[test]
    fn a_range_must_be_in_the_subnet() {
        let subnet: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        assert!(Ipam::new(subnet, "10.0.1.0/25".parse().ok(), ip("10.0.0.1")).is_err());
    }

    #[test]
    fn the_whole_of_a_big_subnet_is_cheap() {
        let mut ipam = ipam("10.0.0.0/8", None);
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.2"));
        ipam.adopt(ip("10.255.255.254")).unwrap();
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.3"));
    }
}
