//! The value of the filter `until`, by which prunes and lists take what is older.

use crate::error::{EngineError, Result};

/// A time, or how long ago it was (`24h`, `1h30m`), as nanoseconds since the epoch.
pub fn parse(text: &str) -> Result<i64> {
    if let Ok(at) = dhow_api::time::parse(text) {
        return Ok(at);
    }
    let ago = dhow_api::duration::parse(text)
        .map_err(|_| EngineError::invalid(format!("invalid filter 'until={text}'")))?;
    Ok(dhow_api::time::now().saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn times_and_durations_are_taken() {
        assert_eq!(parse("1136073845").unwrap(), 1_136_073_845 * SECOND);
        assert_eq!(
            parse("2006-01-02T15:04:05Z").unwrap(),
            1_136_214_245 * SECOND
        );
        for (text, seconds) in [("24h", 86_400), ("1h30m", 5_400), ("10s", 10)] {
            let before = dhow_api::time::now();
            let at = parse(text).unwrap() + seconds * SECOND;
            assert!((before..=dhow_api::time::now()).contains(&at), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "yesterday", "24x"] {
            let refused = parse(text).unwrap_err().to_string();
            assert_eq!(refused, format!("invalid filter 'until={text}'"));
        }
    }
}
