//! The exit codes of containers of `--rm` that are gone: for clients that start one and only then wait for it, by
//! its id. Many libraries do, and nothing promises that a container outlives the start's answer by so much.
//!
//! Invariant: bounded, by number and by time; what is too old is as if it had never been there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::id::ContainerId;

/// Longer than any client takes from a start's answer to its next request.
const KEPT: Duration = Duration::from_secs(60);

/// More than end within that time on a machine that is not busy with just that.
const MOST: usize = 1024;

#[derive(Default)]
pub struct Departed {
    /// The oldest first.
    codes: Mutex<VecDeque<(ContainerId, i32, Instant)>>,
}

impl Departed {
    pub fn note(&self, id: ContainerId, code: i32, now: Instant) {
        let mut codes = self.fresh(now);
        if codes.len() == MOST {
            codes.pop_front();
        }
        codes.push_back((id, code, now));
    }

    /// By the full id: a name may be another's by now.
    pub fn code(&self, reference: &str, now: Instant) -> Option<i32> {
        let codes = self.fresh(now);
        let found = codes.iter().rev().find(|(id, ..)| id.as_str() == reference);
        found.map(|(_, code, _)| *code)
    }

    fn fresh(&self, now: Instant) -> MutexGuard<'_, VecDeque<(ContainerId, i32, Instant)>> {
        let mut codes = self.codes.lock().unwrap_or_else(|e| e.into_inner());
        while codes
            .front()
            .is_some_and(|(.., then)| now.saturating_duration_since(*then) > KEPT)
        {
            codes.pop_front();
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kept_for_a_while() {
        let departed = Departed::default();
        let begin = Instant::now();
        let ids: Vec<_> = (0..MOST + 1)
            .map(|_| ContainerId::random().expect("there is randomness"))
            .collect();
        departed.note(ids[0].clone(), 3, begin);
        assert_eq!(departed.code(ids[0].as_str(), begin + KEPT), Some(3));
        assert_eq!(departed.code(ids[0].short(), begin), None);
        let later = begin + KEPT + Duration::from_millis(1);
        assert_eq!(departed.code(ids[0].as_str(), later), None);
        for id in &ids {
            departed.note(id.clone(), 1, later);
        }
        assert_eq!(departed.code(ids[0].as_str(), later), None);
        assert_eq!(departed.code(ids[1].as_str(), later), Some(1));
        assert_eq!(departed.code(ids[MOST].as_str(), later), Some(1));
    }
}
