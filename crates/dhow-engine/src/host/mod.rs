//! The machine: what it has to give, and what a container takes of it.

pub mod cdi;
mod facts;
pub mod size;
pub mod stats;
pub mod top;

pub use facts::{HostFacts, parse_list};

/// The name of this machine.
pub fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
