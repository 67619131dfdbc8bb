//! Containers: what they are, what state they are in, and what is done with them.

pub mod container;
pub mod create;
pub mod definition;
mod inspect;
pub mod list;
mod merge;
pub mod mounts;
mod pause;
mod prune;
pub mod records;
pub mod remove;
mod rename;
pub mod restart;
pub mod signal;
pub mod spec;
pub mod start;
pub mod state;
pub mod stop;
pub mod table;
mod update;
pub mod user;
mod validate;
pub mod wait;
