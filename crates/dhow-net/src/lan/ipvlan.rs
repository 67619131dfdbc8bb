//! The driver ipvlan: containers share the parent's hardware address, and are told apart by their IP addresses.
//!
//! Kernel interface: Documentation/networking/ipvlan.rst, linux/if_link.h.

use netlink_packet_route::link::{InfoData, InfoIpVlan, IpVlanFlags, IpVlanMode};

/// What the parent does for its links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// It switches: links see the parent's wire.
    #[default]
    L2,
    /// It routes: neither broadcasts nor requests for hardware addresses pass.
    L3,
    /// As that, and what passes meets the host's firewall and connection tracking.
    L3s,
}

/// Whom links reach by the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Each other as well.
    #[default]
    Bridge,
    /// Not each other.
    Private,
    /// Each other by what is at the other end of the wire.
    Vepa,
}

impl IpvlanMode {
    pub const ALL: [IpvlanMode; 3] = [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s];

    pub fn name(self) -> &'static str {
        match self {
            IpvlanMode::L2 => "l2",
            IpvlanMode::L3 => "l3",
            IpvlanMode::L3s => "l3s",
        }
    }

    pub(super) fn data(self, flag: IpvlanFlag) -> InfoData {
        let mode = match self {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3 => IpVlanMode::L3,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let flags = match flag {
            IpvlanFlag::Bridge => IpVlanFlags::empty(),
            IpvlanFlag::Private => IpVlanFlags::Private,
            IpvlanFlag::Vepa => IpVlanFlags::Vepa,
        };
        InfoData::IpVlan(vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)])
    }
}

impl IpvlanFlag {
    pub const ALL: [IpvlanFlag; 3] = [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa];

    pub fn name(self) -> &'static str {
        match self {
            IpvlanFlag::Bridge => "bridge",
            IpvlanFlag::Private => "private",
            IpvlanFlag::Vepa => "vepa",
        }
    }
}
