//! Addresses of one subnet: which are taken, and which comes next.
//!
//! Invariant: an address is given to one holder at a time, and the network, broadcast and gateway addresses to none. The search
//! goes on from the address given last, so that one that has been given back rests for as long as the subnet allows: peers,
//! caches and connection tracking have forgotten its last holder by then. One that is kept is given only to who asks for it.

use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::{Error, Result};

/// An address of either family, as a number.
pub(crate) trait Address: Copy + Eq + Hash + Debug + Display + Into<IpAddr> {
    type Net: Copy + Debug + Into<IpNet>;

    fn number(self) -> u128;
    /// The number is that of an address of the family.
    fn from_number(number: u128) -> Self;
    /// First and last address of a network.
    fn bounds(net: Self::Net) -> (Self, Self);
    /// The first and the last that a host can have: the network's own is no host's, nor is IPv4's broadcast address.
    fn hosts(net: Self::Net) -> (u128, u128);
}

impl Address for Ipv4Addr {
    type Net = Ipv4Net;

    fn number(self) -> u128 {
        u32::from(self).into()
    }

    fn from_number(number: u128) -> Self {
        // It came from one of 32 bits.
        Ipv4Addr::from(number as u32)
    }

    fn bounds(net: Ipv4Net) -> (Self, Self) {
        (net.network(), net.broadcast())
    }

    fn hosts(net: Ipv4Net) -> (u128, u128) {
        let (first, last) = Self::bounds(net);
        (first.number() + 1, last.number().saturating_sub(1))
    }
}

impl Address for Ipv6Addr {
    type Net = Ipv6Net;

    fn number(self) -> u128 {
        self.into()
    }

    fn from_number(number: u128) -> Self {
        number.into()
    }

    fn bounds(net: Ipv6Net) -> (Self, Self) {
        (net.network(), net.broadcast())
    }

    fn hosts(net: Ipv6Net) -> (u128, u128) {
        // The first is that of all routers (RFC 4291, 2.6.1).
        let (first, last) = Self::bounds(net);
        (first.number().saturating_add(1), last.number())
    }
}

/// The taken addresses are a set rather than a bitmap: a /8 costs what its containers cost, not two megabytes.
#[derive(Debug)]
pub struct Ipam<A: Address> {
    subnet: A::Net,
    range: A::Net,
    gateway: A,
    taken: HashSet<A>,
    /// Those that nobody is given unasked, and for how many they are kept.
    kept: HashMap<A, usize>,
    first: u128,
    last: u128,
    next: u128,
}

impl<A: Address> Ipam<A> {
    /// Addresses of `range`, which is the subnet or a part of it.
    pub fn new(subnet: A::Net, range: Option<A::Net>, gateway: A) -> Result<Self> {
        let range = range.unwrap_or(subnet);
        let (usable_first, usable_last) = A::hosts(subnet);
        let (range_first, range_last) = A::bounds(range);
        let (lowest, highest) = A::bounds(subnet);
        if range_first.number() < lowest.number() || range_last.number() > highest.number() {
            return Err(Error::RangeOutsideSubnet {
                range: range.into().trunc(),
                subnet: subnet.into().trunc(),
            });
        }
        let first = usable_first.max(range_first.number());
        Ok(Ipam {
            subnet,
            range,
            gateway,
            taken: HashSet::new(),
            kept: HashMap::new(),
            first,
            last: usable_last.min(range_last.number()),
            next: first,
        })
    }

    /// Whether an address is one of the subnet's.
    pub fn contains(&self, ip: A) -> bool {
        let (first, last) = A::bounds(self.subnet);
        (first.number()..=last.number()).contains(&ip.number())
    }

    /// The next free address.
    pub fn allocate(&mut self) -> Result<A> {
        let exhausted = || Error::Exhausted {
            range: self.range.into().trunc(),
        };
        if self.first > self.last {
            return Err(exhausted());
        }
        let start = self.next;
        let mut number = start;
        // One of as many as are taken or kept, the gateway and one more, is free, or none is.
        loop {
            let ip = A::from_number(number);
            let next = match number == self.last {
                true => self.first,
                false => number + 1,
            };
            if ip != self.gateway && !self.kept.contains_key(&ip) && self.taken.insert(ip) {
                self.next = next;
                return Ok(ip);
            }
            if next == start {
                return Err(exhausted());
            }
            number = next;
        }
    }

    /// Just this address. It may lie outside the range that others come from, not outside the subnet.
    pub fn claim(&mut self, ip: A) -> Result<()> {
        let (first, last) = A::hosts(self.subnet);
        if !(first..=last).contains(&ip.number()) {
            return Err(Error::AddressOutsideSubnet {
                ip: ip.into(),
                range: self.subnet.into().trunc(),
            });
        }
        if ip == self.gateway || !self.taken.insert(ip) {
            return Err(Error::AddressInUse(ip.into()));
        }
        Ok(())
    }

    /// Takes an address over from an earlier daemon, and goes on after it.
    pub fn adopt(&mut self, ip: A) -> Result<()> {
        self.claim(ip)?;
        let number = ip.number();
        if (self.next..self.last).contains(&number) {
            self.next = number + 1;
        }
        Ok(())
    }

    /// Gives an address back. Giving back a free one changes nothing.
    pub fn release(&mut self, ip: A) {
        self.taken.remove(&ip);
    }

    /// Gives an address only to those who ask for it, until it has been let go of as often as it was kept.
    pub fn keep(&mut self, ip: A) {
        *self.kept.entry(ip).or_default() += 1;
    }

    pub fn let_go(&mut self, ip: A) {
        if let Some(count) = self.kept.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.kept.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn ipam(subnet: &str, range: Option<&str>) -> Ipam<Ipv4Addr> {
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
    fn what_is_kept_is_for_those_who_ask_for_it() {
        let mut ipam = ipam("10.0.0.0/29", None);
        ipam.keep(ip("10.0.0.2"));
        ipam.keep(ip("10.0.0.2"));
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.3"));
        ipam.claim(ip("10.0.0.2")).unwrap();
        ipam.release(ip("10.0.0.2"));
        ipam.let_go(ip("10.0.0.2"));
        for last in 4..=6 {
            assert_eq!(ipam.allocate().unwrap().octets()[3], last);
        }
        assert!(matches!(ipam.allocate(), Err(Error::Exhausted { .. })));
        ipam.let_go(ip("10.0.0.2"));
        assert_eq!(ipam.allocate().unwrap(), ip("10.0.0.2"));
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

    #[test]
    fn of_the_other_family() {
        let subnet: Ipv6Net = "fd00:1::/64".parse().unwrap();
        let six = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let mut ipam = Ipam::new(subnet, None, six("fd00:1::1")).unwrap();
        assert_eq!(ipam.allocate().unwrap(), six("fd00:1::2"));
        ipam.claim(six("fd00:1::3")).unwrap();
        assert_eq!(ipam.allocate().unwrap(), six("fd00:1::4"));
        ipam.claim(six("fd00:1::ffff:ffff:ffff:ffff")).unwrap();
        for outside in ["fd00:1::", "fd00:2::5"] {
            assert!(ipam.claim(six(outside)).is_err(), "{outside}");
        }
        // A range at the very end of all addresses.
        let all: Ipv6Net = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126"
            .parse()
            .unwrap();
        let mut ipam =
            Ipam::new(all, None, six("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd")).unwrap();
        assert!(ipam.allocate().is_ok() && ipam.allocate().is_ok());
        assert_eq!(
            ipam.allocate().unwrap_err().to_string(),
            "no available IPv6 addresses on this network's address pools: all of \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126 are in use"
        );
    }
}
