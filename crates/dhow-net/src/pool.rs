//! The addresses of a network, of both families, as endpoints take them: together or not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::endpoint::Addresses;
use crate::error::Result;
use crate::mac::MacAddr;
use crate::subnets::Subnets;

/// What an endpoint is made with; what is `None` is chosen here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub mac: Option<MacAddr>,
    pub ip: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

/// Addresses of a network's subnets.
#[derive(Debug)]
pub(crate) struct Pool {
    pub ip: Subnets<Ipv4Addr>,
    pub ipv6: Option<Subnets<Ipv6Addr>>,
}

impl Pool {
    /// Just those that are wished for, and free ones for the others; or none.
    pub fn take(&mut self, wish: Wish) -> Result<Addresses> {
        let ip = match wish.ip {
            Some(ip) => self.ip.claim(ip).map(|()| ip),
            None => self.ip.allocate(),
        }?;
        let ipv6 = self.ipv6.as_mut().map(|pool| match wish.ipv6 {
            Some(ip) => pool.claim(ip).map(|()| ip),
            None => pool.allocate(),
        });
        match ipv6.transpose() {
            Ok(ipv6) => Ok(Addresses { ip, ipv6 }),
            Err(error) => {
                self.ip.release(ip);
                Err(error)
            }
        }
    }

    pub fn release(&mut self, addresses: Addresses) {
        self.ip.release(addresses.ip);
        if let (Some(pool), Some(ip)) = (&mut self.ipv6, addresses.ipv6) {
            pool.release(ip);
        }
    }

    /// An address of a family that there is none of is passed over.
    pub fn keep(&mut self, ip: IpAddr, kept: bool) {
        match (ip, &mut self.ipv6) {
            (IpAddr::V4(ip), _) if kept => self.ip.keep(ip),
            (IpAddr::V4(ip), _) => self.ip.let_go(ip),
            (IpAddr::V6(ip), Some(pool)) if kept => pool.keep(ip),
            (IpAddr::V6(ip), Some(pool)) => pool.let_go(ip),
            (IpAddr::V6(_), None) => {}
        }
    }
}
