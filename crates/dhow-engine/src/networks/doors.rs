//! Who is on the way into which network, and which networks are closed to them: one that is being removed is entered by nobody,
//! and one that somebody enters is not removed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::made::Made;
use crate::error::{EngineError, Result};

#[derive(Debug, Default)]
struct State {
    /// How many are on their way in, by the network's key.
    entering: HashMap<String, usize>,
    closed: HashSet<String>,
}

/// A handle; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    state: Arc<Mutex<State>>,
}

/// Somebody is on the way into a network, until this is dropped.
pub struct Entering {
    doors: Doors,
    key: String,
}

/// A network that nobody enters, until this is dropped.
pub struct Closed {
    doors: Doors,
    key: String,
}

impl Doors {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An error if the network is being removed, or was.
    pub fn enter(&self, made: &Made) -> Result<Entering> {
        let key = made.record.id.clone();
        let mut state = self.lock();
        if state.closed.contains(&key) || made.is_gone() {
            return Err(EngineError::NoSuchNetwork(made.record.name.clone()));
        }
        *state.entering.entry(key.clone()).or_default() += 1;
        Ok(Entering {
            doors: self.clone(),
            key,
        })
    }

    /// `None` while somebody enters, or is in, which `is_empty` says.
    pub fn close(&self, key: &str, is_empty: impl FnOnce() -> bool) -> Option<Closed> {
        let mut state = self.lock();
        if state.entering.contains_key(key) || !is_empty() {
            return None;
        }
        state.closed.insert(key.to_owned());
        Some(Closed {
            doors: self.clone(),
            key: key.to_owned(),
        })
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut state = self.doors.lock();
        if let Some(count) = state.entering.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.entering.remove(&self.key);
            }
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.doors.lock().closed.remove(&self.key);
    }
}
