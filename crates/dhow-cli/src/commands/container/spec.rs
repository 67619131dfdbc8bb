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
pub use ports::{Ports, unpublish};
pub use resources::{limits, restart_policy};

/// Reads the value of one of the flags that have a grammar of their own: see [`crate::untrusted`].
pub fn untrusted(which: u8, text: &str) {
    match which % 13 {
        0 => drop(mounts::mount(text)),
        1 => drop(mounts::tmpfs(&[text])),
        2 => drop(volumes::read(&[text])),
        3 => drop(ports::Ports::default().publish(text)),
        4 => drop(ports::Ports::default().expose(text)),
        5 => drop(networks::check(text)),
        6 => drop(devices::read(&[text])),
        7 => drop(devices::gpus(text)),
        8 => drop(devices::weights(&[text])),
        9 => drop(devices::throttles(&[text], true)),
        10 => drop((resources::ulimit(text), resources::restart_policy(text))),
        11 => drop((container::extra_host(text), resources::check_sysctl(text))),
        _ => drop(ports::unpublish(&mut Default::default(), text)),
    }
}
