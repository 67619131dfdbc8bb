//! The administrator's table, whose chain sees what is forwarded before ours do.
//!
//! Invariant: it is made where it is missing, and removed while it is empty, when ours is. What is in it is never touched.

use crate::netlink::Batch;

use super::wire::{Hook, Transaction};

/// Of both families.
pub(crate) const TABLE: &str = "dhow-user";
const CHAIN: &str = "forward";
/// Ours have 0. An acceptance here does not keep ours from being asked; a drop does.
const PRIORITY: i32 = -10;

/// Makes the table and the chain, unless they are there.
pub(crate) fn make() -> Batch {
    let mut transaction = Transaction::new(TABLE);
    transaction.set_both_families();
    transaction.add_table();
    transaction.add_base_chain(CHAIN, "filter", Hook::Forward, PRIORITY);
    transaction.finish()
}

/// Removes them, where nobody has put anything there.
pub(crate) fn remove() -> Batch {
    let mut transaction = Transaction::new(TABLE);
    transaction.set_both_families();
    transaction.delete_table_of_one_empty_chain(CHAIN);
    transaction.finish()
}
