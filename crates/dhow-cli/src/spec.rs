//! A container's definition from the flags of `run` and `create`.

mod container;
mod devices;
mod environment;
pub mod flags;
mod mounts;
mod networks;
mod ports;
mod resources;
mod security;
mod volumes;

pub use container::{Definition, define};
pub use environment::{check as check_variable, read as read_environment, read_labels};
pub use resources::{limits, restart_policy};

/// Why a flag's value is refused; the texts are Docker's.
pub type Refusal = String;
