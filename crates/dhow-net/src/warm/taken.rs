//! An address on its way to an endpoint.

use super::Sandboxes;
use crate::endpoint::Addresses;

/// An address that is free again unless something comes of it, also when the thread dies over it.
pub(super) struct Taken<'a> {
    pub(super) home: &'a Sandboxes,
    pub(super) addresses: Addresses,
    pub(super) kept: bool,
}

impl Taken<'_> {
    pub(super) fn keep(mut self) -> Addresses {
        self.kept = true;
        self.addresses
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.home.lock().pool.release(self.addresses);
        }
    }
}
