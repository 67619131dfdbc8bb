//! Networks: made, listed, joined, left, removed.

pub mod create;
pub mod endpoint;
mod ipam;
pub mod list;
pub mod prune;
pub mod remove;
