//! The daemon and its host: what they are, what happens, what room is used.

pub mod df;
mod df_verbose;
pub mod dial_stdio;
pub mod events;
pub mod info;
pub mod prune;
pub mod version;
