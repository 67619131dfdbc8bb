//! The subnets of one family of a network: one, or several beside each other.

use crate::error::Result;
use crate::ipam::{Address, Ipam};

/// An address that nobody chose comes from the first subnet that has one.
#[derive(Debug)]
pub(crate) struct Subnets<A: Address> {
    first: Ipam<A>,
    others: Vec<Ipam<A>>,
}

impl<A: Address> From<Ipam<A>> for Subnets<A> {
    fn from(first: Ipam<A>) -> Self {
        Subnets {
            first,
            others: Vec::new(),
        }
    }
}

impl<A: Address> Subnets<A> {
    /// One more, which overlaps none that is there.
    pub fn add(&mut self, subnet: Ipam<A>) {
        self.others.push(subnet);
    }

    /// As [`Ipam::allocate`].
    pub fn allocate(&mut self) -> Result<A> {
        let refused = match self.first.allocate() {
            Ok(ip) => return Ok(ip),
            Err(refused) => refused,
        };
        let mut others = self.others.iter_mut();
        others.find_map(|one| one.allocate().ok()).ok_or(refused)
    }

    /// As [`Ipam::claim`].
    pub fn claim(&mut self, ip: A) -> Result<()> {
        self.of(ip).claim(ip)
    }

    /// As [`Ipam::adopt`].
    pub fn adopt(&mut self, ip: A) -> Result<()> {
        self.of(ip).adopt(ip)
    }

    /// As [`Ipam::release`].
    pub fn release(&mut self, ip: A) {
        self.of(ip).release(ip);
    }

    /// As [`Ipam::keep`].
    pub fn keep(&mut self, ip: A) {
        self.of(ip).keep(ip);
    }

    /// As [`Ipam::let_go`].
    pub fn let_go(&mut self, ip: A) {
        self.of(ip).let_go(ip);
    }

    fn of(&mut self, ip: A) -> &mut Ipam<A> {
        let other = self.others.iter_mut().find(|one| one.contains(ip));
        other.unwrap_or(&mut self.first)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_next_subnet_is_used_when_one_is_full() {
        let subnet = |text: &str| {
            let net: ipnet::Ipv4Net = text.parse().unwrap();
            Ipam::new(net, None, net.network()).unwrap()
        };
        let mut subnets = Subnets::from(subnet("10.1.0.0/30"));
        subnets.add(subnet("10.2.0.0/30"));
        let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        subnets.claim(ip("10.2.0.1")).unwrap();
        assert!(subnets.claim(ip("10.2.0.1")).is_err());
        let all = std::iter::from_fn(|| subnets.allocate().ok());
        assert_eq!(
            all.collect::<Vec<_>>(),
            ["10.1.0.1", "10.1.0.2", "10.2.0.2"].map(ip)
        );
        let full = subnets.allocate().unwrap_err().to_string();
        assert!(full.contains("all of 10.1.0.0/30"), "{full}");
        subnets.release(ip("10.2.0.2"));
        assert_eq!(subnets.allocate().unwrap(), ip("10.2.0.2"));
        assert!(subnets.claim(ip("10.3.0.1")).is_err());
    }
}
