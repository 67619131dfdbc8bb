//! The driver macvlan: each container has a hardware address of its own on the parent's wire.
//!
//! Kernel interface: `drivers/net/macvlan.c`, linux/if_link.h.

use netlink_packet_route::link::{InfoData, InfoMacVlan, MacVlanMode};

/// How links of one parent see each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// They reach each other without leaving the host.
    #[default]
    Bridge,
    /// They don't.
    Private,
    /// By the switch at the other end of the wire, if that sends frames back (IEEE 802.1Qbg).
    Vepa,
    /// There is one, which has the parent to itself, and its hardware address.
    Passthru,
}

impl MacvlanMode {
    pub const ALL: [MacvlanMode; 4] = [
        MacvlanMode::Bridge,
        MacvlanMode::Private,
        MacvlanMode::Vepa,
        MacvlanMode::Passthru,
    ];

    pub fn name(self) -> &'static str {
        match self {
            MacvlanMode::Bridge => "bridge",
            MacvlanMode::Private => "private",
            MacvlanMode::Vepa => "vepa",
            MacvlanMode::Passthru => "passthru",
        }
    }

    pub(super) fn data(self) -> InfoData {
        let mode = match self {
            MacvlanMode::Bridge => MacVlanMode::Bridge,
            MacvlanMode::Private => MacVlanMode::Private,
            MacvlanMode::Vepa => MacVlanMode::Vepa,
            MacvlanMode::Passthru => MacVlanMode::Passthrough,
        };
        InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])
    }
}
