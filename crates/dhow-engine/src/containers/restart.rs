//! When a container that ended is started again: Docker's restart policies and their pauses.

use std::time::Duration;

/// `HostConfig.RestartPolicy`, parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    /// At most so many times; 0 is without bound.
    OnFailure(u32),
}

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A run that lasted so long makes the next pause a first one again.
const HEALTHY: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether a container that ended by itself comes back. `count` is how often it did so already.
    pub fn wants(self, exit_code: i32, count: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(most) => exit_code != 0 && (most == 0 || count < most),
        }
    }

    /// Whether a new daemon starts a container that it finds stopped after the host went down with it.
    pub fn wants_at_boot(self, stopped_by_user: bool, exit_code: i32, count: u32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !stopped_by_user,
            _ => !stopped_by_user && self.wants(exit_code, count),
        }
    }
}

/// The pause before the next restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    last: Duration,
}

impl Backoff {
    pub fn next(&mut self, ran_for: Duration) -> Duration {
        self.last = if self.last.is_zero() || ran_for >= HEALTHY {
            FIRST
        } else {
            (self.last * 2).min(LONGEST)
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy() {
        assert!(!RestartPolicy::No.wants(1, 0));
        assert!(RestartPolicy::Always.wants(0, 99));
        assert!(RestartPolicy::OnFailure(0).wants(1, 99));
        assert!(RestartPolicy::OnFailure(2).wants(1, 1));
        assert!(!RestartPolicy::OnFailure(2).wants(1, 2));
        assert!(!RestartPolicy::OnFailure(2).wants(0, 0));
        assert!(RestartPolicy::Always.wants_at_boot(true, 0, 0));
        assert!(!RestartPolicy::UnlessStopped.wants_at_boot(true, 0, 0));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..12)
            .map(|_| backoff.next(Duration::ZERO).as_millis() as u64)
            .collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(backoff.next(Duration::from_secs(10)), FIRST);
    }
}
