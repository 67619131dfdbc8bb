//! The daemon's side: handles to the spawner and to the shims.
//!
//! A [`Shim`] is one connection. What a shim says comes to a task that the handle owns and that ends with
//! its last clone; dropping a handle never touches the container.

mod connection;
mod shim;
mod spawner;

pub use self::shim::Shim;
pub use self::spawner::{Spawner, SpawnerProcess, fork_spawner};
