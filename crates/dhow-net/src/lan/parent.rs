//! The link that a network's links have below them: one of the host's, or one that is made for networks and goes with them.

use std::io;

use crate::error::{Doing, Error, Result};
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, LinkState};

/// A parent, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub name: String,
    /// How it is made, if it is the networks' own.
    pub made: Option<MadeParent>,
}

/// Parents that are made for networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MadeParent {
    /// It leads nowhere: containers reach each other, and nobody else.
    Dummy,
    /// What has a tag on another link of the host's (IEEE 802.1Q).
    Vlan { on: String, id: u16 },
}

impl MadeParent {
    fn kind(&self) -> &'static str {
        match self {
            MadeParent::Dummy => "dummy",
            MadeParent::Vlan { .. } => "vlan",
        }
    }

    /// The module that makes such links.
    fn module(&self) -> &'static str {
        match self {
            MadeParent::Dummy => "dummy",
            MadeParent::Vlan { .. } => "8021q",
        }
    }
}

impl Parent {
    fn find(&self, socket: &mut Socket) -> Result<Option<LinkState>> {
        rtnl::find_link(socket, &self.name).doing(|| format!("cannot look for link {}", self.name))
    }

    pub(super) fn ensure(&self, socket: &mut Socket) -> Result<LinkState> {
        if let Some(link) = self.find(socket)? {
            return Ok(link);
        }
        let missing = || Error::ParentMissing(self.name.clone());
        let made = self.made.as_ref().ok_or_else(missing)?;
        self.make(socket, made)?;
        self.find(socket)?.ok_or_else(missing)
    }

    fn make(&self, socket: &mut Socket, made: &MadeParent) -> Result<()> {
        let mut batch = Batch::default();
        match made {
            MadeParent::Dummy => rtnl::new_dummy(&mut batch, &self.name),
            MadeParent::Vlan { on, id } => {
                let below = rtnl::find_link(socket, on)
                    .doing(|| format!("cannot look for link {on}"))?
                    .ok_or_else(|| Error::MasterMissing(on.clone()))?;
                rtnl::new_vlan(&mut batch, &self.name, below.index, *id);
            }
        }
        match socket.transact(&batch, |_| {}) {
            Ok(()) => {}
            // Somebody else was faster.
            Err(refusal) if errno(&refusal.error) == Some(libc::EEXIST) => return Ok(()),
            Err(refusal) if errno(&refusal.error) == Some(libc::EOPNOTSUPP) => {
                return Err(Error::NoSuchKind(made.module()));
            }
            Err(refusal) => {
                let doing = || format!("failed to create {} {} link", self.name, made.kind());
                return Err(io::Error::from(refusal)).doing(doing);
            }
        }
        let mut batch = Batch::default();
        rtnl::up(&mut batch, Link::Name(&self.name));
        if let Err(refusal) = socket.transact(&batch, |_| {}) {
            super::remove(socket, Link::Name(&self.name))?;
            let doing = || format!("failed to enable the parent link {}", self.name);
            return Err(io::Error::from(refusal)).doing(doing);
        }
        Ok(())
    }

    pub(super) fn remove(&self, socket: &mut Socket) -> Result<()> {
        let Some(made) = &self.made else {
            return Ok(());
        };
        match self.find(socket)? {
            Some(link) if link.kind.as_deref() == Some(made.kind()) => {
                super::remove(socket, Link::Index(link.index))
            }
            _ => Ok(()),
        }
    }
}
