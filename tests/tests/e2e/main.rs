//! What a user sees, end to end: a file for each noun. Run them with `cargo xtask test`.

mod confinement;
mod conformance;
mod docker_py;
mod events;
mod exec;
mod failures;
mod filling;
mod hello;
mod hostile;
mod instants;
mod leftovers;
mod lifecycle;
mod limits;
mod links;
mod logs;
mod network;
mod pull_push;
mod records;
mod registry;
mod restart;
mod run;
mod shims;
mod streams;
mod system;
mod terminal;
mod volumes;
