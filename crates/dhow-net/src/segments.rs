//! The bridges of a network: the first, which has its addresses, and more behind it, each tied to it by a pair of links.
//!
//! A Linux bridge has 1,023 ports (`BR_MAX_PORTS`, less one), so a network of more containers has further bridges. They switch
//! frames and nothing else: what is routed goes by the first, which is the one that rules name.
//!
//! Invariant: the number of a container's link says on which bridge it is, as long as it is entered here. A link that the
//! kernel removes late is no longer: then a bridge is fuller than it seems, says so, and the next is taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a bridge can have.
const PORTS: u32 = 1023;
/// So many containers are on the first bridge; what is left of its ports ties others to it.
const ON_FIRST: u32 = 960;
/// So many on each other, which has one port for the tie.
const ON_OTHERS: u32 = PORTS - 1;
/// As many bridges as there can be: a port of the first for each other.
pub(crate) const MOST: usize = (PORTS - ON_FIRST) as usize + 1;

/// Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    all: Vec<Segment>,
    /// Which of them a container's link is on, by the number in its name.
    of: HashMap<u32, usize>,
}

#[derive(Debug)]
struct Segment {
    /// The bridge's, among the host's links.
    index: u32,
    room: u32,
    used: u32,
}

impl Segments {
    /// Of a bridge of ours.
    pub fn new(first: u32) -> Segments {
        Segments::of(first, ON_FIRST)
    }

    /// Of a bridge that no other is tied to.
    pub fn alone(first: u32) -> Segments {
        Segments::of(first, PORTS)
    }

    fn of(first: u32, room: u32) -> Segments {
        let first = Segment {
            index: first,
            room,
            used: 0,
        };
        Segments {
            state: Arc::new(Mutex::new(State {
                all: vec![first],
                of: HashMap::new(),
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Adds another bridge, and gives its number.
    pub fn add(&self, index: u32) -> usize {
        let mut state = self.lock();
        state.all.push(Segment {
            index,
            room: ON_OTHERS,
            used: 0,
        });
        state.all.len() - 1
    }

    /// Number and index of the first bridge from number `from` on that has room.
    pub fn with_room(&self, from: usize) -> Option<(usize, u32)> {
        let state = self.lock();
        let mut all = state.all.iter().enumerate().skip(from);
        all.find(|(_, segment)| segment.used < segment.room)
            .map(|(number, segment)| (number, segment.index))
    }

    /// How many more links the bridge of this number takes.
    pub fn room(&self, number: usize) -> usize {
        let state = self.lock();
        let room = state.all.get(number).map(|one| one.room - one.used);
        room.unwrap_or(0) as usize
    }

    /// Whether a container's link is on one of them.
    pub fn has(&self, link: u32) -> bool {
        self.lock().of.contains_key(&link)
    }

    /// The containers' links on the bridge of this number.
    pub fn on(&self, number: usize) -> Vec<u32> {
        let state = self.lock();
        let on = state.of.iter().filter(|(_, on)| **on == number);
        on.map(|(link, _)| *link).collect()
    }

    /// A container's link is on the bridge of this number.
    pub fn enter(&self, link: u32, number: usize) {
        let mut state = self.lock();
        state.leave(link);
        state.of.insert(link, number);
        if let Some(segment) = state.all.get_mut(number) {
            segment.used += 1;
        }
    }

    /// A container's link is gone, or will be soon.
    pub fn leave(&self, link: u32) {
        self.lock().leave(link);
    }
}

impl State {
    fn leave(&mut self, link: u32) {
        if let Some(number) = self.of.remove(&link)
            && let Some(segment) = self.all.get_mut(number)
        {
            segment.used = segment.used.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_with_room_is_taken() {
        let segments = Segments::new(7);
        for link in 0..ON_FIRST {
            assert_eq!(segments.with_room(0), Some((0, 7)));
            segments.enter(link, 0);
        }
        assert_eq!(segments.with_room(0), None);
        assert_eq!(segments.add(9), 1);
        assert_eq!(segments.with_room(0), Some((1, 9)));
        segments.enter(5000, 1);
        for _ in 0..2 {
            segments.leave(3);
            assert_eq!(segments.with_room(0), Some((0, 7)));
        }
        // One that proves full is passed over.
        assert_eq!(segments.with_room(1), Some((1, 9)));
        // A number that is used again counts once.
        segments.enter(5000, 0);
        assert_eq!(segments.with_room(0), Some((1, 9)));
    }
}
