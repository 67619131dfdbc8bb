//! What containers tell the supervisor. It goes up as a message, never as a call, so that nothing here
//! knows who acts on it.

use std::sync::Arc;
use std::time::Duration;

use dhow_runtime::Shim;
use tokio::sync::mpsc;

use super::container::Container;

/// Something that somebody has to see to.
pub enum Notice {
    /// Its process runs, under this shim.
    Started(Arc<Container>, Shim),
    /// Its process runs, as far as is known: its shim can't be reached.
    Unreachable(Arc<Container>),
    /// Its restart policy wants it started after a pause.
    Restart(Arc<Container>, Duration),
    /// The health check of the run that began then has failed so often that it is to be restarted.
    Unhealthy(Arc<Container>, i64),
    /// It has ended, or could not be started, and is of `--rm`.
    Spent(Arc<Container>),
    /// It is gone, and with it these execs.
    Removed { execs: Vec<String> },
}

/// Where notices go. Sending never waits: there are as many notices as containers have ends and starts.
#[derive(Clone, Debug)]
pub struct Notices {
    sender: mpsc::UnboundedSender<Notice>,
}

impl Notices {
    pub fn new() -> (Notices, mpsc::UnboundedReceiver<Notice>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Notices { sender }, receiver)
    }

    /// A supervisor that is gone has nothing more to see to: the next engine finds what was left.
    pub fn send(&self, notice: Notice) {
        let _ = self.sender.send(notice);
    }
}
