//! The daemon and its host: what they are, what happens, what room is used.

pub mod df;
pub mod events;
pub mod info;
pub mod prune;
pub mod version;
