//! The name server of a sandbox, asked from inside its namespace as a resolver asks.

mod forwarding;
mod own;
mod place;
mod takeover;
#[path = "../world/mod.rs"]
mod world;
