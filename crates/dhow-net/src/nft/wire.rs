//! The nf_tables messages that the rule set needs: attributes, tables, chains, maps and their entries.
//!
//! Numbers are `linux/netfilter/nf_tables.h`'s. What netfilter interprets (handles, flags, register numbers) is big-endian;
//! what is compared with a packet or register is the bytes as they are there.

use std::net::IpAddr;

use super::rule::Rule;
use crate::netlink::{Batch, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, align};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// Messages within the subsystem.
pub(crate) const NEW_TABLE: u16 = 0;
pub(crate) const DEL_TABLE: u16 = 2;
pub(crate) const NEW_CHAIN: u16 = 3;
pub(crate) const GET_CHAIN: u16 = 4;
pub(crate) const DEL_CHAIN: u16 = 5;
pub(crate) const NEW_RULE: u16 = 6;
pub(crate) const GET_RULE: u16 = 7;
pub(crate) const NEW_SET: u16 = 9;
pub(crate) const NEW_SET_ELEMENTS: u16 = 12;
pub(crate) const GET_SET_ELEMENTS: u16 = 13;
pub(crate) const DEL_SET_ELEMENTS: u16 = 14;

/// The multicast group of all changes, as a bit for `bind`.
pub(crate) const CHANGES_GROUP: u32 = 1 << (7 - 1);

/// Every object's message carries its table's name in attribute 1.
pub(crate) const TABLE_NAME: u16 = 1;
pub(crate) const CHAIN_NAME: u16 = 3;
pub(crate) const CHAIN_HOOK: u16 = 4;
pub(crate) const CHAIN_POLICY: u16 = 5;
pub(crate) const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const CHAIN_TYPE: u16 = 7;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
/// For programs that list the set: the key is in this host's order of bytes (libnftnl's udata, "key byte order").
const NAMES_AS_THEY_ARE: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
const SET_DESCRIPTION_CONCAT: u16 = 2;
const SET_FIELD_LENGTH: u16 = 1;
pub(crate) const ELEMENTS_SET: u16 = 2;
pub(crate) const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_KEY_END: u16 = 10;
pub(super) const LIST_ELEMENT: u16 = 1;
const DATA_VALUE: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;

const SET_INTERVAL: u32 = 4;
const SET_MAP: u32 = 8;
const SET_CONCAT: u32 = 0x80;

/// The family of tables of both.
pub(crate) const NFPROTO_INET: u8 = 1;

/// Families of tables, as nft calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ip,
    Ip6,
}

impl Family {
    pub fn of(ip: IpAddr) -> Family {
        match ip {
            IpAddr::V4(_) => Family::Ip,
            IpAddr::V6(_) => Family::Ip6,
        }
    }

    /// AF_INET or AF_INET6.
    pub fn number(self) -> u8 {
        match self {
            Family::Ip => 2,
            Family::Ip6 => 10,
        }
    }
}

/// A message's kind as it comes from the kernel, if it is of this subsystem.
pub(crate) fn kind(message: u16) -> Option<u16> {
    (message >> 8 == NFNL_SUBSYS_NFTABLES).then_some(message & 0xff)
}

/// `struct nfgenmsg`.
pub(crate) const GENERIC_HEADER: usize = 4;

pub(crate) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values are names, numbers and lists of a bounded number of elements: below 64 KiB.
    let length = (4 + value.len()) as u16;
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(align(bytes.len()), 0);
}

pub(super) fn number(bytes: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(bytes, kind, &value.to_be_bytes());
}

pub(super) fn string(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    attribute(bytes, kind, &value);
}

pub(crate) fn nested(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
    fill(bytes);
    let length = (bytes.len() - start) as u16;
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

pub(super) fn value(bytes: &mut Vec<u8>, kind: u16, data: &[u8]) {
    nested(bytes, kind, |bytes| attribute(bytes, DATA_VALUE, data));
}

/// Changes to a table of one family and its namesake of the other, for the kernel to apply at once.
#[derive(Debug)]
pub(crate) struct Transaction {
    table: String,
    /// As nft calls it: `ip`, `ip6` or `inet`.
    family: u8,
    batch: Batch,
}

impl Transaction {
    pub fn new(table: &str) -> Self {
        let mut transaction = Transaction {
            table: table.to_owned(),
            family: Family::Ip.number(),
            batch: Batch::default(),
        };
        transaction.bound(NFNL_MSG_BATCH_BEGIN);
        transaction
    }

    /// What follows is about the table of this family.
    pub fn set_family(&mut self, family: Family) {
        self.family = family.number();
    }

    /// What follows is about the table of both families.
    pub fn set_both_families(&mut self) {
        self.family = NFPROTO_INET;
    }

    /// The batch, complete.
    pub fn finish(mut self) -> Batch {
        self.bound(NFNL_MSG_BATCH_END);
        self.batch
    }

    fn bound(&mut self, kind: u16) {
        let start = self.batch.begin(kind, NLM_F_REQUEST);
        self.batch.bytes.extend_from_slice(&[0, 0]);
        self.batch
            .bytes
            .extend_from_slice(&NFNL_SUBSYS_NFTABLES.to_be_bytes());
        self.batch.finish(start);
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        push(&mut self.batch, kind, flags, self.family, |bytes| {
            string(bytes, TABLE_NAME, &self.table);
            fill(bytes);
        });
    }

    /// Adds the table; nothing happens if it is there.
    pub fn add_table(&mut self) {
        self.message(NEW_TABLE, NLM_F_CREATE, |_| {});
    }

    /// Adds the table, which must not be there.
    pub fn add_new_table(&mut self) {
        self.message(NEW_TABLE, NLM_F_CREATE | NLM_F_EXCL, |_| {});
    }

    /// Deletes the table with all that is in it.
    pub fn delete_table(&mut self) {
        self.message(DEL_TABLE, 0, |_| {});
    }

    /// Deletes the table and a chain of it, which is all that it has; else the whole batch fails.
    pub fn delete_table_of_one_empty_chain(&mut self, chain: &str) {
        const NLM_F_NONREC: u16 = 0x100;
        self.message(DEL_CHAIN, NLM_F_NONREC, |bytes| {
            string(bytes, CHAIN_NAME, chain);
        });
        self.message(DEL_TABLE, NLM_F_NONREC, |_| {});
    }

    /// Adds a chain that rules jump to.
    pub fn add_chain(&mut self, name: &str) {
        self.message(NEW_CHAIN, NLM_F_CREATE, |bytes| {
            string(bytes, CHAIN_NAME, name);
        });
    }

    /// Adds a chain that packets enter at a hook. What no rule decides is accepted.
    pub fn add_base_chain(&mut self, name: &str, kind: &str, hook: Hook, priority: i32) {
        self.message(NEW_CHAIN, NLM_F_CREATE, |bytes| {
            string(bytes, CHAIN_NAME, name);
            nested(bytes, CHAIN_HOOK, |bytes| {
                number(bytes, HOOK_NUMBER, hook as u32);
                attribute(bytes, HOOK_PRIORITY, &priority.to_be_bytes());
            });
            string(bytes, CHAIN_TYPE, kind);
        });
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, rule: Rule) {
        const NLM_F_APPEND: u16 = 0x800;
        self.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |bytes| {
            string(bytes, RULE_CHAIN, chain);
            nested(bytes, RULE_EXPRESSIONS, |bytes| bytes.extend(rule.bytes));
        });
    }

    pub fn add_map(&mut self, map: &Map, id: u32) {
        self.message(NEW_SET, NLM_F_CREATE, |bytes| {
            string(bytes, SET_NAME, map.name);
            let concat = if map.intervals {
                SET_INTERVAL | SET_CONCAT
            } else {
                0
            };
            let kind = if map.data.is_empty() { 0 } else { SET_MAP };
            number(bytes, SET_FLAGS, kind | concat);
            number(bytes, SET_KEY_TYPE, Field::types(map.key));
            number(bytes, SET_KEY_LENGTH, Field::length(map.key));
            if !map.data.is_empty() {
                number(bytes, SET_DATA_TYPE, Field::types(map.data));
                number(bytes, SET_DATA_LENGTH, Field::length(map.data));
            }
            if map.intervals {
                nested(bytes, SET_DESCRIPTION, |bytes| {
                    nested(bytes, SET_DESCRIPTION_CONCAT, |bytes| {
                        for field in map.key {
                            nested(bytes, LIST_ELEMENT, |bytes| {
                                number(bytes, SET_FIELD_LENGTH, field.size());
                            });
                        }
                    });
                });
            }
            number(bytes, SET_ID, id);
            if let [Field::Link] = map.key {
                attribute(bytes, SET_USERDATA, &NAMES_AS_THEY_ARE);
            }
        });
    }

    pub fn add_elements(&mut self, map: &Map, elements: &[Element]) {
        self.elements(NEW_SET_ELEMENTS, NLM_F_CREATE, map, elements, true);
    }

    pub fn delete_elements(&mut self, map: &Map, elements: &[Element]) {
        self.elements(DEL_SET_ELEMENTS, 0, map, elements, false);
    }

    fn elements(&mut self, kind: u16, flags: u16, map: &Map, elements: &[Element], data: bool) {
        // A list of elements is one attribute, whose length is 16 bits: an element takes at most 100 bytes.
        for chunk in elements.chunks(512) {
            self.message(kind, flags, |bytes| {
                string(bytes, ELEMENTS_SET, map.name);
                nested(bytes, ELEMENTS, |bytes| {
                    for element in chunk {
                        nested(bytes, LIST_ELEMENT, |bytes| {
                            value(bytes, ELEMENT_KEY, &element.key);
                            if let Some(end) = &element.key_end {
                                value(bytes, ELEMENT_KEY_END, end);
                            }
                            if data && !element.data.is_empty() {
                                value(bytes, ELEMENT_DATA, &element.data);
                            }
                        });
                    }
                });
            });
        }
    }
}

fn push(batch: &mut Batch, kind: u16, flags: u16, family: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = batch.begin(
        NFNL_SUBSYS_NFTABLES << 8 | kind,
        // An error is told without being asked for. Acknowledgements of thousands of messages would have no room.
        NLM_F_REQUEST | flags,
    );
    batch.bytes.extend_from_slice(&[family, 0, 0, 0]);
    fill(&mut batch.bytes);
    batch.finish(start);
}

/// A request for all objects of a kind in a family; of a table, of a set, if named.
pub(crate) fn dump(kind: u16, family: u8, table: Option<&str>, set: Option<&str>) -> Batch {
    let mut batch = Batch::default();
    push(&mut batch, kind, NLM_F_DUMP, family, |bytes| {
        if let Some(table) = table {
            string(bytes, TABLE_NAME, table);
        }
        if let Some(set) = set {
            string(bytes, ELEMENTS_SET, set);
        }
    });
    batch
}

/// Where a base chain sees packets (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// Part of a map's key or data, padded to four bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Address,
    Address6,
    Link,
    Protocol,
    Port,
}

impl Field {
    fn size(self) -> u32 {
        match self {
            Field::Address => 4,
            Field::Address6 | Field::Link => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    /// nft's number for the type. The kernel doesn't look at it; programs that list the map do.
    fn types(fields: &[Field]) -> u32 {
        fields.iter().fold(0, |types, field| {
            types << 6
                | match field {
                    Field::Address => 7,
                    Field::Address6 => 8,
                    Field::Link => 41,
                    Field::Protocol => 12,
                    Field::Port => 13,
                }
        })
    }

    fn length(fields: &[Field]) -> u32 {
        fields
            .iter()
            .map(|field| field.size().next_multiple_of(4))
            .sum()
    }
}

/// A named map, or a set, which has no data.
#[derive(Debug)]
pub(crate) struct Map {
    pub name: &'static str,
    pub key: &'static [Field],
    pub data: &'static [Field],
    /// Keys are ranges, field by field.
    pub intervals: bool,
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub key: Vec<u8>,
    /// Last key of a range.
    pub key_end: Option<Vec<u8>>,
    pub data: Vec<u8>,
}

/// Entries of one map or set.
#[derive(Debug)]
pub(crate) struct Entries {
    pub map: &'static Map,
    pub elements: Vec<Element>,
}

/// An address in a key.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
