//! Changes of a container's state, one after another: in the state machine, in the store, and for those who
//! wait.
//!
//! Invariants: what is stored never overtakes what is stored later; an end is stored before waiters learn of
//! it, and a user's stop before its signal goes; what readers see and what waiters watch change together,
//! under one lock; whoever hears of a change in the events and looks sees it.

use std::sync::Arc;

use dhow_store::Store;
use tokio::sync::MutexGuard;

use super::container::Container;
use super::records;
use super::state::{Event, Refusal, State};
use crate::error::Result;

/// The right to change a container's state. Held over a write to the store, and over nothing that a
/// container could delay.
pub struct Turn<'a> {
    container: &'a Arc<Container>,
    _held: MutexGuard<'a, ()>,
}

impl Container {
    pub async fn turn(self: &Arc<Container>) -> Turn<'_> {
        Turn {
            container: self,
            _held: self.changes.lock().await,
        }
    }
}

impl Turn<'_> {
    /// Lets an event happen, or says why it can't. Waiters learn of it.
    pub fn transition(&self, event: Event) -> std::result::Result<State, Refusal> {
        self.container.transition(event, || {})
    }

    /// As [`Turn::transition`], and tells of it once readers see it, and before waiters wake. `tell` must not ask for
    /// the container's view.
    pub fn transition_and_tell(
        &self,
        event: Event,
        tell: impl FnOnce(),
    ) -> std::result::Result<State, Refusal> {
        self.container.transition(event, tell)
    }

    /// As [`Turn::transition`], with the refusal in Docker's words.
    pub fn apply(&self, event: Event) -> Result<State> {
        self.transition(event.clone())
            .map_err(|refusal| self.container.refused(&event, refusal))
    }

    /// Stores what follows of an event, and then lets it happen. What can't be stored is said, and happens
    /// all the same: the process does what it does.
    pub async fn settle(&self, store: &Store, event: Event) -> std::result::Result<State, Refusal> {
        self.settle_and_tell(store, event, || {}).await
    }

    /// [`Turn::settle`] and [`Turn::transition_and_tell`].
    pub async fn settle_and_tell(
        &self,
        store: &Store,
        event: Event,
        tell: impl FnOnce(),
    ) -> std::result::Result<State, Refusal> {
        let life = {
            let view = self.container.view();
            let mut life = view.lasting();
            life.state = life.state.after(event.clone())?;
            life
        };
        if let Err(e) = records::save_life(store, &self.container.id, life).await {
            tracing::error!(container = %self.container.id, error = %e, "its state could not be stored");
        }
        self.transition_and_tell(event, tell)
    }

    /// Stores the state as it is.
    pub async fn save(&self, store: &Store) -> Result<()> {
        let life = self.container.view().lasting();
        records::save_life(store, &self.container.id, life).await
    }
}
