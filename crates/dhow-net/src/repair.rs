//! When what another program removed is put back: soon, and ever later for who keeps removing it.

use std::time::{Duration, Instant};

/// Another program that keeps removing it meets a repair this long after, then twice as long, up to the longest.
const FIRST_REPAIR: Duration = Duration::from_millis(10);

const LONGEST_REPAIR: Duration = Duration::from_secs(60);

/// After so long without need the next repair is a first one again.
const QUIET: Duration = Duration::from_secs(300);

/// When something is to be put back.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    pub due: Option<Instant>,
    pub last: Option<Instant>,
    delay: Duration,
}

impl Repair {
    pub fn ask(&mut self, now: Instant) {
        if self.due.is_some() {
            return;
        }
        let quiet = self.last.is_none_or(|last| now - last > QUIET);
        self.delay = if quiet {
            FIRST_REPAIR
        } else {
            (self.delay * 2).min(LONGEST_REPAIR)
        };
        self.due = Some(now + self.delay);
    }

    /// It is put back now.
    pub fn begin(&mut self, now: Instant) {
        self.due = None;
        self.last = Some(now);
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_slow_down_for_who_keeps_removing_it() {
        let mut repair = Repair::default();
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..20 {
            repair.ask(now);
            repair.ask(now);
            delays.push(repair.delay);
            assert!(!repair.is_due(now) && repair.is_due(now + repair.delay));
            now += repair.delay;
            repair.begin(now);
        }
        assert_eq!(delays[..2], [FIRST_REPAIR, 2 * FIRST_REPAIR]);
        assert_eq!(delays[19], LONGEST_REPAIR);
        repair.ask(now + 2 * QUIET);
        assert_eq!(repair.delay, FIRST_REPAIR);
    }
}
