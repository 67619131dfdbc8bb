//! Ethernet addresses of containers.
//!
//! Invariant: an address that we make is locally administered and unicast (IEEE 802, bits 1 and 0 of the first octet).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An Ethernet address, written `02:42:ac:11:00:02`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address: {0}")]
pub struct InvalidMac(pub String);

impl MacAddr {
    /// The address that goes with an IPv4 address: `02:42` and its four octets.
    ///
    /// Neighbours keep what they learned by ARP for minutes. An address that is handed out again later comes with the same
    /// hardware address, so what they know stays true.
    pub fn of_ipv4(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        MacAddr([0x02, 0x42, a, b, c, d])
    }

    /// Whether a link can have it: neither a group address nor all zeros.
    pub fn is_usable(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = InvalidMac;

    /// Six octets of two hexadecimal digits with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(invalid)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(MacAddr(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        let mac = MacAddr::of_ipv4(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:AC:11:00:02".parse(), Ok(mac));
        assert_eq!("02-42-ac-11-00-02".parse(), Ok(mac));
        for bad in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "02:42:ac:11:00:0g",
            "+2:42:ac:11:00:02",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn group_and_zero_addresses_are_unusable() {
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_usable());
        assert!(!MacAddr([1, 0, 0, 0, 0, 1]).is_usable());
        assert!(!MacAddr([0; 6]).is_usable());
    }
}
