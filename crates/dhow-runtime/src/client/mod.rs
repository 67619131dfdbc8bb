//! The daemon's side: handles to the spawner and to the shims.
//!
//! A [`Shim`] is one connection. What a shim says comes to a task that the handle owns and that ends with
//! its last clone; dropping a handle never touches the container. No call waits for ever: a shim that does
//! not answer in time is an error, not an end.

mod connection;
mod ending;
mod exits;
mod reach;
mod shim;
mod spawner;
mod start;

use std::time::Duration;

pub use self::ending::end_shim;
pub use self::reach::{Reach, reach};
pub use self::shim::Shim;
pub use self::spawner::{Spawner, SpawnerProcess, fork_spawner};
pub use self::start::Handed;

/// How long a shim may take to answer. It takes less than a millisecond, and longer only where the machine
/// has no time for it, or while it clears away a container that has ended.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// As [`PATIENCE`], of an exec: more than the shim itself gives it, which then says so.
pub const EXEC_PATIENCE: Duration = Duration::from_secs(30);

/// As [`EXEC_PATIENCE`], of a start: the shim gives it a minute, and may need ten seconds to undo it.
pub const START_PATIENCE: Duration = Duration::from_secs(90);
