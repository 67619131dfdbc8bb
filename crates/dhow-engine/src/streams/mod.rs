//! What a container says, and what is said to it: attaching, detaching, logs.

pub mod attach;
mod clear;
pub mod detach;
pub mod logs;
mod read;

use std::sync::Arc;

use crate::background::Background;
use crate::containers::Containers;

/// The streams of all containers. A handle; clones are the same.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    containers: Containers,
    background: Background,
    watcher: logs::Watcher,
}

impl Streams {
    pub fn new(containers: Containers, background: Background) -> Streams {
        Streams {
            inner: Arc::new(Inner {
                containers,
                background,
                watcher: logs::Watcher::default(),
            }),
        }
    }
}
