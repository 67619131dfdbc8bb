//! How processes have ended, as far as anyone still asks.
//!
//! A connection lives as long as its container, which may run a health check every second for years: an
//! exec's entry goes once its end has been told.

use std::collections::HashMap;

use tokio::sync::watch;

use crate::protocol::{ExitRecord, Target};

/// Below this many entries nobody looks for those that can go.
const FEW: usize = 64;

/// Ends that nobody has asked for yet are kept up to this number, as in the shim.
const MOST_UNASKED: usize = 1024;

struct Exit {
    sender: watch::Sender<Option<ExitRecord>>,
    /// This handle starts it, or has started it.
    own: bool,
    /// Someone has asked for its end.
    asked: bool,
    order: u64,
}

impl Exit {
    fn has_ended(&self) -> bool {
        self.sender.borrow().is_some()
    }

    fn is_of_use(&self) -> bool {
        let unanswered = if self.has_ended() {
            !self.asked
        } else {
            self.own
        };
        unanswered || self.sender.receiver_count() > 0
    }
}

pub(super) struct Exits {
    /// The init's is always there.
    all: HashMap<Target, Exit>,
    next: u64,
    /// When there are so many it is time to look for those that can go.
    sweep_at: usize,
}

impl Exits {
    pub fn new() -> Self {
        let mut exits = Self {
            all: HashMap::new(),
            next: 0,
            sweep_at: FEW,
        };
        exits.entry(Target::Init).own = true;
        exits
    }

    fn entry(&mut self, target: Target) -> &mut Exit {
        if self.all.len() >= self.sweep_at {
            self.sweep();
        }
        let next = &mut self.next;
        self.all.entry(target).or_insert_with(|| {
            *next += 1;
            Exit {
                sender: watch::Sender::new(None),
                own: false,
                asked: false,
                order: *next,
            }
        })
    }

    pub fn subscribe(&mut self, target: Target) -> watch::Receiver<Option<ExitRecord>> {
        let exit = self.entry(target);
        exit.asked = true;
        exit.sender.subscribe()
    }

    /// An exec is about to be started.
    pub fn expect(&mut self, target: Target) {
        if self.all.get(&target).is_some_and(Exit::has_ended) {
            // An earlier one of the same name.
            self.all.remove(&target);
        }
        self.entry(target).own = true;
    }

    /// An exec has not come to a process: whoever asked for its end sees that none comes.
    pub fn forget(&mut self, target: &Target) {
        self.all.remove(target);
    }

    pub fn ended(&mut self, target: Target, record: ExitRecord) {
        self.entry(target).sender.send_replace(Some(record));
    }

    /// Of an exec that is not known there is nothing more to come.
    pub fn has_ended(&self, target: &Target) -> bool {
        self.all.get(target).is_none_or(Exit::has_ended)
    }

    /// The connection is closed: no end is told any more.
    pub fn close(&mut self) {
        self.all.clear();
    }

    fn sweep(&mut self) {
        self.all
            .retain(|target, exit| *target == Target::Init || exit.is_of_use());
        let unasked = |exit: &Exit| exit.has_ended() && !exit.asked;
        let mut orders: Vec<u64> = self
            .all
            .iter()
            .filter(|(target, exit)| **target != Target::Init && unasked(exit))
            .map(|(_, exit)| exit.order)
            .collect();
        if orders.len() > MOST_UNASKED {
            orders.sort_unstable();
            let oldest = orders[orders.len() - MOST_UNASKED];
            self.all.retain(|target, exit| {
                *target == Target::Init || !unasked(exit) || exit.order >= oldest
            });
        }
        self.sweep_at = FEW.max(self.all.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(number: usize) -> Target {
        Target::Exec(format!("exec-{number}"))
    }

    fn record(code: i32) -> ExitRecord {
        ExitRecord {
            code,
            oom_killed: false,
            started_at: 1,
            finished_at: 2,
        }
    }

    #[test]
    fn ends_that_have_been_told_are_forgotten() {
        let mut exits = Exits::new();
        let init = exits.subscribe(Target::Init);
        let mut running = Vec::new();
        for number in 0..500 {
            exits.expect(exec(number));
            let receiver = exits.subscribe(exec(number));
            if number % 50 == 0 {
                // One that runs on.
                running.push((number, receiver));
                continue;
            }
            assert!(!exits.has_ended(&exec(number)));
            exits.ended(exec(number), record(number as i32));
            let told = receiver.borrow().as_ref().map(|record| record.code);
            assert_eq!(told, Some(number as i32));
        }
        assert!(exits.all.len() <= FEW, "{}", exits.all.len());
        for (number, receiver) in running {
            exits.ended(exec(number), record(3));
            assert_eq!(
                receiver.borrow().as_ref().map(|record| record.code),
                Some(3)
            );
        }
        exits.ended(Target::Init, record(4));
        assert_eq!(init.borrow().as_ref().map(|record| record.code), Some(4));
        assert!(exits.has_ended(&exec(1)), "long forgotten");
    }

    #[test]
    fn ends_that_nobody_has_asked_for_are_kept_for_a_while() {
        let mut exits = Exits::new();
        for number in 0..10 * MOST_UNASKED {
            exits.ended(exec(number), record(0));
        }
        assert!(
            exits.all.len() <= 2 * MOST_UNASKED + 1,
            "{}",
            exits.all.len()
        );
        let last = exits.subscribe(exec(10 * MOST_UNASKED - 1));
        assert!(last.borrow().is_some());
    }

    #[test]
    fn a_name_can_be_used_again() {
        let mut exits = Exits::new();
        exits.expect(exec(1));
        let receiver = exits.subscribe(exec(1));
        exits.forget(&exec(1));
        assert!(receiver.has_changed().is_err(), "none comes");
        exits.expect(exec(1));
        exits.ended(exec(1), record(1));
        exits.expect(exec(1));
        assert!(exits.subscribe(exec(1)).borrow().is_none());
    }
}
