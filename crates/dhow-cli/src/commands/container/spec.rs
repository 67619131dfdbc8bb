//! A container's definition from the flags of `run` and `create`.

mod capabilities;
mod container;
mod devices;
pub mod flags;
pub mod mounts;
pub mod networks;
mod ports;
mod resources;
mod security;
mod volumes;

pub use container::{Definition, define};
pub use resources::{limits, restart_policy};
