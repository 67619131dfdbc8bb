//! What others do to the rules: ours that they change are put back, and theirs that are in the way are told.

use std::io;
use std::time::Instant;

use rustix::net::RecvFlags;

use super::{Firewall, monitor};
use crate::netlink::messages;
use crate::nft::{inspect, ruleset, users, wire};

impl Firewall {
    /// Reads what has changed in the rules, and asks for a repair if another program changed ours.
    pub(super) fn watch(&mut self) {
        let families = self.families();
        let mut touched = false;
        loop {
            match self.monitor.receive(RecvFlags::DONTWAIT) {
                Ok(None) => break,
                Ok(Some(datagram)) => {
                    touched |= messages(datagram).any(|message| {
                        let family = inspect::family_of_table(message.payload, &self.scheme.table);
                        message.port != self.own_port
                            && wire::kind(message.kind).is_some()
                            && family.is_some_and(|family| families.contains(&family))
                    });
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    // Some changes were not told: look.
                    touched |= !self.is_intact().unwrap_or(false);
                }
                Err(error) => {
                    tracing::warn!(%error, "the socket that watches the rules broke; opening another");
                    match monitor() {
                        Ok(monitor) => self.monitor = monitor,
                        Err(error) => tracing::error!(%error, "cannot watch the rules"),
                    }
                    // What changed meanwhile was not told.
                    touched = true;
                    break;
                }
            }
        }
        if touched {
            self.repair.ask(Instant::now());
        }
    }

    pub(super) fn put_back(&mut self, now: Instant) {
        self.repair.begin(now);
        self.make_users_chain();
        match self.replace() {
            Ok(()) => tracing::warn!(
                table = self.scheme.table,
                "another program changed or removed our nf_tables table: it is back in place"
            ),
            Err(error) => {
                tracing::error!(%error, "cannot put the nf_tables table back");
                self.repair.ask(now);
            }
        }
    }

    /// Whether the table has as many rules and entries as it should.
    pub(super) fn is_intact(&mut self) -> io::Result<bool> {
        let all = self.ports.forwards();
        let (socket, table) = (&mut self.socket, &self.scheme.table);
        for family in ruleset::families(&self.bridges) {
            let expected = ruleset::rule_count(*family, &self.scheme);
            if inspect::count_rules(socket, *family, table)? != expected {
                return Ok(false);
            }
            for map in ruleset::maps_of(*family) {
                let expected = ruleset::element_count(*family, map, &self.bridges, &all);
                if inspect::count_elements(socket, *family, table, map.name)? != expected {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Makes the chain for the administrator's rules where it is missing.
    pub(super) fn make_users_chain(&mut self) {
        if let Err(error) = self.commit(&users::make()) {
            tracing::warn!(table = users::TABLE, %error, "there is no chain for the administrator's rules");
        }
    }

    /// Says so when another program's rules drop what is forwarded: an acceptance in our table doesn't overrule that.
    pub(super) fn warn_of_others(&mut self) {
        match inspect::dropping_forward_chains(&mut self.socket) {
            Ok(chains) => {
                for (table, chain) in chains {
                    tracing::warn!(
                        table,
                        chain,
                        "the policy of this chain drops forwarded packets: published ports and containers' way out need \
                         rules there that accept them"
                    );
                }
            }
            Err(error) => tracing::debug!(%error, "cannot list other programs' chains"),
        }
    }
}
