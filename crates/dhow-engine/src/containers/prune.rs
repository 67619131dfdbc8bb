//! Removing all containers that do not run.

use dhow_api::{ContainerPruneReport, Filters};

use super::Containers;
use super::remove::RemoveOptions;
use super::state::State;
use crate::background::blocking;
use crate::error::{EngineError, Result};
use crate::host;
use crate::volumes::excluded;

impl Containers {
    pub async fn prune(&self, filters: &Filters) -> Result<ContainerPruneReport> {
        filters.validate(&["label", "label!", "until"])?;
        let until = match filters.get("until").next() {
            None => None,
            Some(text) => Some(parse_until(text)?),
        };
        let mut report = ContainerPruneReport::default();
        for container in self.inner.table.all() {
            if !matches!(
                container.state(),
                State::Created(_) | State::Exited(_) | State::Dead(_)
            ) {
                continue;
            }
            let definition = container.definition();
            let labels = &definition.config.labels;
            if until.is_some_and(|u| container.created >= u)
                || !filters.labels_match("label", labels)
                || excluded(filters, labels)
            {
                continue;
            }
            let upper = container.upper_dir();
            let size = blocking(move || host::size::of_tree(&upper)).await?;
            let _ops = container.ops.lock().await;
            // One that was started since is left alone.
            match self
                .remove_locked(&container, &RemoveOptions::default())
                .await
            {
                Ok(()) => {
                    report.space_reclaimed += size;
                    report
                        .containers_deleted
                        .get_or_insert_with(Vec::new)
                        .push(container.id.to_string());
                }
                Err(e) => {
                    tracing::warn!(container = %container.id, error = %e, "it was not pruned");
                }
            }
        }
        let actor = dhow_api::Actor {
            id: String::new(),
            attributes: [("reclaimed".to_owned(), report.space_reclaimed.to_string())].into(),
        };
        self.inner.events.publish("container", "prune", actor);
        Ok(report)
    }
}

/// A time, or how long ago it was (`24h`, `1h30m`), as nanoseconds since the epoch.
fn parse_until(text: &str) -> Result<i64> {
    if let Ok(at) = dhow_api::time::parse(text) {
        return Ok(at);
    }
    let ago = parse_duration(text)
        .ok_or_else(|| EngineError::invalid(format!("invalid filter 'until={text}'")))?;
    Ok(dhow_api::time::now().saturating_sub(ago))
}

/// Go's notation of durations, as far as it is of use here; in nanoseconds.
fn parse_duration(text: &str) -> Option<i64> {
    let mut nanos: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let factor: i64 = match &rest[..unit] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            _ => return None,
        };
        rest = &rest[unit..];
        nanos = number.checked_mul(factor)?.checked_add(nanos)?;
    }
    (!text.is_empty()).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("10ms"), Some(10_000_000));
        for bad in ["", "x", "1", "1d", "h", "99999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
