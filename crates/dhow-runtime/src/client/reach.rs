//! Whether a container has a shim, and whether it answers.

use std::io;
use std::path::Path;

use super::Shim;
use crate::protocol::Started;

/// How often a shim is called that hangs up: it ends just then, and the next call finds nobody.
const CALLS: usize = 3;

/// What there is of a container's shim.
pub enum Reach {
    /// It answers. Whether the container's process has ended is in [`Shim::exit`] already.
    Connected(Shim, Started),
    /// It answers, and the container's process does not run its program yet.
    Starting,
    /// No shim listens. That says nothing of the container: a shim takes its socket away when the exit is on
    /// record ([`crate::read_exit_record`]), and leaves it when it is killed. Without a record the container's
    /// processes may run on, and nobody learns how they end: what is in the cgroup is to be killed before
    /// anything else may run in its place.
    Gone,
}

/// Looks for a container's shim. An error is a shim that can't be reached, such as `TimedOut` for one that
/// does not answer: of its container nothing is known, but that it may run. [`super::end_shim`] ends it.
///
/// A shim answers only once the container has been started, which may take it a minute.
pub async fn reach(runtime_dir: &Path, id: &str) -> io::Result<Reach> {
    let mut hung_up = io::Error::from(io::ErrorKind::ConnectionReset);
    for _ in 0..CALLS {
        match Shim::connect(runtime_dir, id).await {
            Ok((shim, Some(started))) => return Ok(Reach::Connected(shim, started)),
            Ok((_, None)) => return Ok(Reach::Starting),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    return Ok(Reach::Gone);
                }
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => hung_up = error,
                _ => return Err(error),
            },
        }
    }
    Err(hung_up)
}
