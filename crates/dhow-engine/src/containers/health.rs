//! What is known of a running container's health, and how a check's result counts (Docker's `HEALTHCHECK`).

use std::collections::VecDeque;

use dhow_api::HealthcheckResult;

/// How many results are kept.
const KEPT: usize = 5;

/// What is known of a running container's health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub status: HealthStatus,
    pub failing_streak: i64,
    pub log: VecDeque<HealthcheckResult>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub fn name(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    /// Counts a result. A failure within the start period does not count, as long as no check has
    /// succeeded.
    pub fn count(&mut self, result: HealthcheckResult, retries: i64, in_start_period: bool) {
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !(in_start_period && self.status == HealthStatus::Starting) {
            self.failing_streak += 1;
            if self.failing_streak >= retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(exit_code: i64) -> HealthcheckResult {
        HealthcheckResult {
            exit_code,
            ..HealthcheckResult::default()
        }
    }

    #[test]
    fn failures_count_after_the_start_period_and_a_success_forgives_them() {
        let mut health = Health::default();
        health.count(result(1), 2, true);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
        health.count(result(1), 2, false);
        health.count(result(1), 2, false);
        assert_eq!(health.status, HealthStatus::Unhealthy);
        health.count(result(0), 2, false);
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Healthy, 0)
        );
        health.count(result(1), 2, true);
        assert_eq!(health.failing_streak, 1);
        for _ in 0..10 {
            health.count(result(0), 2, false);
        }
        assert_eq!(health.log.len(), KEPT);
    }
}
