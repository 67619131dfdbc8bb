//! Networks: made, listed, drawn, joined, left, removed.

pub mod create;
pub mod endpoint;
pub mod graph;
mod ipam;
pub mod list;
pub mod prune;
pub mod remove;
