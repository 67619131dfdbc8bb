//! A container's log driver and its options.

use dhow_api::HostConfig;

use super::refuse;
use crate::error::{EngineError, Result};

/// The options of the json-file driver.
const JSON_FILE_OPTIONS: [&str; 7] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
];

/// Checks the driver's name and its options.
pub fn check(host: &HostConfig) -> Result<()> {
    match host.log_config.kind.as_str() {
        "" | "json-file" => {
            log_limits(&host.log_config)?;
            for name in host.log_config.config.keys() {
                if !JSON_FILE_OPTIONS.contains(&name.as_str())
                    && !matches!(name.as_str(), "tag" | "mode" | "max-buffer-size")
                {
                    return refuse(format!("unknown log opt '{name}' for json-file log driver"));
                }
            }
            Ok(())
        }
        "none" => Ok(()),
        other => refuse(format!(
            "logger: no log driver named '{other}' is registered"
        )),
    }
}

/// `max-size` in bytes and `max-file` of the json-file driver.
pub fn log_limits(config: &dhow_api::LogConfig) -> Result<(Option<u64>, u32)> {
    let size =
        match config.config.get("max-size").map(String::as_str) {
            None | Some("" | "-1") => None,
            Some(text) => Some(parse_size(text).filter(|&n| n > 0).ok_or_else(|| {
                EngineError::invalid(format!("invalid value for max-size: {text}"))
            })?),
        };
    let files = match config.config.get("max-file").map(String::as_str) {
        None | Some("") => 1,
        Some(text) => text
            .parse::<u32>()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| EngineError::invalid("max-file cannot be less than 1"))?,
    };
    Ok((size, files))
}

/// `10m`, `1g`, `512kb`, `100`: binary multiples.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_sizes() {
        assert_eq!(parse_size("10m"), Some(10 << 20));
        assert_eq!(parse_size("1GiB"), Some(1 << 30));
        assert_eq!(parse_size("7"), Some(7));
        assert_eq!(parse_size("x"), None);
    }
}
