//! Contexts: made, changed, listed, chosen, moved between machines.

pub mod create;
pub mod current;
pub mod inspect;
pub mod list;
pub mod transfer;
