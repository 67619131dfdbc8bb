//! One container in memory: its identity, which never changes, a small locked view that readers copy from,
//! and the lock that puts its slow operations in order.
//!
//! Two rules keep `ps` fast and one container's trouble its own. The view's lock is held for a few
//! instructions, never over an await or a system call. The operation lock is this container's alone.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use dhow_runtime::Shim;
use dhow_runtime::protocol::AttachStreams;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::definition::Definition;
use super::health::Health;
use super::restart::Backoff;
use super::state::{Ended, Event, Refusal, State};
use super::views::Views;
use crate::error::{EngineError, Result};
use crate::id::ContainerId;
use crate::networks::{EndpointRecord, EtcFiles, endpoint};

/// What of a container changes while it exists, and is kept in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    pub state: State,
    /// Its places in networks while it runs.
    #[serde(
        default,
        alias = "endpoint",
        deserialize_with = "endpoint::one_or_several"
    )]
    pub endpoints: Vec<EndpointRecord>,
    pub restart_count: u32,
    /// It is being ended for what its health check says, which its restart policy takes for a failure. Kept, so that
    /// it is one also for a daemon that finds the end, or has to bring it about.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed_health: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What readers see. Copied, never held.
pub struct View {
    pub name: Arc<str>,
    pub definition: Arc<Definition>,
    pub life: Life,
    pub backoff: Backoff,
    /// When the run was started that is paused for the engine's own sake, see [`super::pause`].
    pub still: Option<i64>,
    /// The connection to the process's shim while it runs.
    pub shim: Option<Shim>,
    /// Clients that attached before the start, each with its end of a socket.
    pub pending: Vec<(AttachStreams, OwnedFd)>,
    pub execs: Vec<String>,
    /// What its health check says, if it has one and has been started.
    pub health: Option<Health>,
    /// Cancelled when the last run's shim has cleared away what the next one will make again: its cgroup and
    /// its socket.
    pub cleared: Option<CancellationToken>,
    /// It has run out of memory since its start, which its watchers know.
    pub oom_told: bool,
    /// Whether it is to be told, before its end, that it was stopped.
    pub stop_untold: bool,
    /// Holds the image's layers.
    pub pin: Option<dhow_image::Pin>,
    /// Holds the layers of the images that are mounted, by their ids.
    pub mounted_images: BTreeMap<String, dhow_image::Pin>,
}

impl View {
    /// Whether it is paused, and not because a user wants that.
    pub fn is_still(&self) -> bool {
        match &self.life.state {
            State::Paused(run) => self.still == Some(run.started_at),
            _ => false,
        }
    }

    /// What of its life is to outlast this daemon: a pause that is the engine's own is not.
    pub fn lasting(&self) -> Life {
        let mut life = self.life.clone();
        if self.is_still()
            && let State::Paused(run) = life.state
        {
            life.state = State::Running(run);
        }
        life
    }
}

/// What waiters watch. Numbers only grow, so that a waiter who skips a value misses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub live: bool,
    /// How many runs have ended since this daemon began.
    pub exits: u64,
    pub exit_code: i32,
    pub error: String,
    pub removed: bool,
}

pub struct Container {
    pub id: ContainerId,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Its directory under the data-root.
    pub dir: PathBuf,
    /// Held by whatever starts, stops, changes or removes this container.
    pub ops: tokio::sync::Mutex<()>,
    /// Held over a change of the state, see [`super::turn::Turn`].
    pub(super) changes: tokio::sync::Mutex<()>,
    /// Held by whoever changes what its shim keeps open.
    pub holding: tokio::sync::Mutex<()>,
    /// Those who read or write its files from outside.
    pub views: Views,
    view: Mutex<View>,
    progress: watch::Sender<Progress>,
}

impl Container {
    pub fn new(
        id: ContainerId,
        created: i64,
        dir: PathBuf,
        name: &str,
        definition: Definition,
        life: Life,
    ) -> Container {
        let ended = life.state.ended().cloned().unwrap_or_default();
        let progress = Progress {
            live: life.state.is_live(),
            exits: 0,
            exit_code: ended.exit_code,
            error: ended.error,
            removed: false,
        };
        Container {
            id,
            created,
            dir,
            ops: tokio::sync::Mutex::new(()),
            changes: tokio::sync::Mutex::new(()),
            holding: tokio::sync::Mutex::new(()),
            views: Views::default(),
            view: Mutex::new(View {
                name: name.into(),
                definition: Arc::new(definition),
                life,
                backoff: Backoff::default(),
                still: None,
                shim: None,
                pending: Vec::new(),
                execs: Vec::new(),
                health: None,
                cleared: None,
                oom_told: false,
                stop_untold: false,
                pin: None,
                mounted_images: BTreeMap::new(),
            }),
            progress: watch::Sender::new(progress),
        }
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn name(&self) -> Arc<str> {
        self.view().name.clone()
    }

    pub fn definition(&self) -> Arc<Definition> {
        self.view().definition.clone()
    }

    pub fn state(&self) -> State {
        self.view().life.state.clone()
    }

    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Lets an event happen, or says why it can't: readers see it, then it is told, and then waiters learn of it. The
    /// caller has the turn; `tell` must not ask for the view.
    pub(super) fn transition(
        &self,
        event: Event,
        tell: impl FnOnce(),
    ) -> std::result::Result<State, Refusal> {
        let is_exit = matches!(event, Event::Exit { .. });
        let is_failed_start = matches!(event, Event::StartFailed { .. });
        // Held until waiters know: of two changes the later one is told last.
        let mut view = self.view();
        let next = view.life.state.after(event)?;
        if next.run().is_none() {
            view.shim = None;
        }
        view.life.state = next.clone();
        // Who hears of it and looks waits for the view; who has waited and then looks at what was told finds it there.
        tell();
        self.progress.send_if_modified(|p| {
            let before = p.clone();
            p.live = next.is_live();
            if let Some(Ended {
                exit_code, error, ..
            }) = next.ended()
            {
                p.exit_code = *exit_code;
                p.error.clone_from(error);
            }
            if is_exit || is_failed_start {
                p.exits += 1;
            }
            *p != before
        });
        Ok(next)
    }

    pub fn set_removed(&self) {
        let _view = self.view();
        self.progress.send_if_modified(|p| {
            p.live = false;
            !std::mem::replace(&mut p.removed, true)
        });
    }

    pub fn refused(&self, event: &Event, refusal: Refusal) -> EngineError {
        let id = &self.id;
        let text = match (event, refusal) {
            (Event::Start, Refusal::AlreadyRunning) => return EngineError::NotModified,
            (Event::Stop, Refusal::NotRunning) => return EngineError::NotModified,
            (Event::Start, Refusal::Paused) => {
                "cannot start a paused container, try unpause instead".to_owned()
            }
            (Event::Start, Refusal::Removing | Refusal::Dead) => {
                "container is marked for removal and cannot be started".to_owned()
            }
            (Event::Remove, Refusal::AlreadyRunning) => self.cannot_remove(
                "running",
                "stop the container before removing or force remove",
            ),
            (Event::Remove, Refusal::Restarting) => self.cannot_remove(
                "restarting",
                "stop the container before removing or force remove",
            ),
            (Event::Remove, Refusal::Paused) => self.cannot_remove(
                "paused",
                "unpause and then stop the container before removing or force remove",
            ),
            (Event::Remove, Refusal::Removing) => {
                format!("removal of container {id} is already in progress")
            }
            (_, Refusal::AlreadyPaused) => format!("container {id} is already paused"),
            (_, Refusal::NotPaused) => format!("container {id} is not paused"),
            (_, Refusal::Restarting) => {
                format!("container {id} is restarting, wait until the container is running")
            }
            (_, Refusal::Removing) => {
                format!("removal of container {id} is already in progress")
            }
            (_, Refusal::Dead) => format!("container {id} is dead: remove it"),
            (_, Refusal::Paused) => {
                format!("container {id} is paused, unpause the container first")
            }
            (_, Refusal::Starting) => format!("container {id} is being started"),
            (_, Refusal::AlreadyRunning) => format!("container {id} is running"),
            (_, Refusal::NotRunning) => format!("container {id} is not running"),
        };
        EngineError::Refused(text)
    }

    fn cannot_remove(&self, state: &str, procedure: &str) -> String {
        format!(
            "cannot remove container \"/{}\": container is {state}: {procedure}",
            self.name()
        )
    }

    /// The shim of a running container, or the error that there is none.
    pub fn shim(&self) -> Result<Shim> {
        let view = self.view();
        match (&view.shim, view.life.state.run()) {
            (Some(shim), Some(_)) => Ok(shim.clone()),
            (None, Some(_)) => Err(EngineError::Unreachable(self.id.clone())),
            _ => Err(self.not_running()),
        }
    }

    pub fn not_running(&self) -> EngineError {
        EngineError::NotRunning(self.id.clone())
    }

    pub fn upper_dir(&self) -> PathBuf {
        self.dir.join("upper")
    }

    pub fn work_dir(&self) -> PathBuf {
        self.dir.join("work")
    }

    pub fn etc_files(&self) -> EtcFiles {
        EtcFiles::of(&self.dir)
    }
}
