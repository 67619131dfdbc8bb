//! The options of log drivers by name, and the values that they take: those of Docker's Go libraries, with
//! their texts.

use std::collections::BTreeMap;

use crate::error::{EngineError, Result};

/// What an entry says beside its text, for every driver.
const ATTRIBUTES: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
/// Those of the drivers that write files.
pub const FILE: &[&str] = &["max-size", "max-file", "compress"];
/// Those of the file that is kept of what goes to a server begin with this.
const CACHE: &str = "cache-";

/// One driver's options.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    all: &'a BTreeMap<String, String>,
    /// What the names begin with.
    prefix: &'a str,
}

/// Whether an option is about the file that is kept beside a server.
pub fn is_of_cache(name: &str) -> bool {
    name.strip_prefix(CACHE).is_some_and(|rest| {
        rest == "disabled" || FILE.contains(&rest) || ATTRIBUTES.contains(&rest)
    })
}

impl<'a> Options<'a> {
    pub fn new(all: &'a BTreeMap<String, String>) -> Options<'a> {
        Options { all, prefix: "" }
    }

    /// Those of the file that is kept beside a server.
    pub fn of_cache(&self) -> Options<'a> {
        Options {
            all: self.all,
            prefix: CACHE,
        }
    }

    /// The value of an option, if it is given.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let value = match self.prefix {
            "" => self.all.get(name),
            prefix => self.all.get(&format!("{prefix}{name}")),
        };
        value.map(String::as_str)
    }

    /// What every driver's options are checked for.
    pub fn check_common(&self) -> Result<()> {
        let mode = self.get("mode").unwrap_or_default();
        if !matches!(mode, "" | "blocking" | "non-blocking") {
            return Err(EngineError::invalid(format!(
                "logger: logging mode not supported: {mode}"
            )));
        }
        self.buffer()?;
        match self.get("cache-disabled") {
            Some(text) if !text.is_empty() && boolean(text).is_none() => Err(EngineError::invalid(
                format!("invalid value for option cache-disabled: {text}"),
            )),
            _ => Ok(()),
        }
    }

    /// `max-buffer-size` in bytes.
    pub fn buffer(&self) -> Result<Option<u64>> {
        let Some(text) = self.get("max-buffer-size") else {
            return Ok(None);
        };
        if self.get("mode") != Some("non-blocking") {
            return Err(EngineError::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        size(text, 1024).map(Some).map_err(|reason| {
            EngineError::invalid(format!("error parsing option max-buffer-size: {reason}"))
        })
    }

    /// Refuses, by its name, an option that is none of the driver's.
    pub fn check_names(&self, driver: &str, own: &[&str]) -> Result<()> {
        let known = |name: &str| {
            own.contains(&name)
                || ATTRIBUTES.contains(&name)
                || matches!(name, "mode" | "max-buffer-size")
                || is_of_cache(name)
        };
        match self.all.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) if driver == "local" => Err(EngineError::invalid(format!(
                "unknown log opt '{name}' for log driver local"
            ))),
            Some(name) => Err(EngineError::invalid(format!(
                "unknown log opt '{name}' for {driver} log driver"
            ))),
        }
    }

    /// A size in bytes, as `10m`; the inner `None`, written `-1`, is no limit.
    pub fn size(&self, name: &str) -> Result<Option<Option<u64>>> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some("-1") => Ok(Some(None)),
            Some(text) => size(text, 1000)
                .map(|bytes| Some(Some(bytes)))
                .map_err(EngineError::invalid),
        }
    }

    /// A number, as of files. Refuses what is none.
    pub fn count(&self, name: &str) -> Result<Option<i32>> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                EngineError::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// Go's booleans: `1`, `t`, `true` and so on. Refuses what is none.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => boolean(text).map(Some).ok_or_else(|| {
                EngineError::invalid(format!(
                    "strconv.ParseBool: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }
}

/// As Go's `strconv.ParseBool` reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// As docker/go-units reads it: `10m`, `1.5 GB`, `512kib`, `100`, in multiples of 1000 or of 1024.
fn size(text: &str, step: u64) -> std::result::Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))
        .ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(end + 1);
    let number: f64 = number
        .strip_suffix(' ')
        .unwrap_or(number)
        .parse()
        .map_err(|_| invalid())?;
    if !number.is_finite() || number < 0.0 {
        return Err(invalid());
    }
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.trim_end_matches('b') {
        "" if lower.len() <= 1 => 0,
        letters => {
            let mut rest = letters.chars();
            let power = rest.next().and_then(|c| "kmgtp".find(c));
            match (power, rest.as_str()) {
                (Some(power), "") if lower.len() <= 2 => power as i32 + 1,
                (Some(power), "i") if lower.len() == 3 => power as i32 + 1,
                _ => return Err(format!("invalid suffix: '{lower}'")),
            }
        }
    };
    Ok((number * (step as f64).powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_go_units() {
        for (text, bytes) in [
            ("7", 7),
            ("7b", 7),
            ("10m", 10_000_000),
            ("10M", 10_000_000),
            ("1.5k", 1500),
            ("1 GiB", 1_000_000_000),
            ("2kb", 2000),
        ] {
            assert_eq!(size(text, 1000), Ok(bytes), "{text}");
        }
        assert_eq!(size("4m", 1024), Ok(4 << 20));
        for text in ["", "x", "-5", "5x", "5bb", "5kbb", "5mi", "1.2.3", "5kibx"] {
            assert!(size(text, 1000).is_err(), "{text}");
        }
    }

    #[test]
    fn options_of_the_cache() {
        for name in ["cache-disabled", "cache-max-size", "cache-tag"] {
            assert!(is_of_cache(name), "{name}");
        }
        for name in ["max-size", "cache-mode", "cache-"] {
            assert!(!is_of_cache(name), "{name}");
        }
    }
}
