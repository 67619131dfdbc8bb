//! HEALTHCHECK.

use dhow_api::duration;
use dhow_oci::Healthcheck;

use crate::parser::Statement;
use crate::problem::Problem;
use crate::text::quoted;

use super::Words;
use super::flags::{Flags, Kind};

/// An interval may not be shorter, in nanoseconds: 1 ms.
const SHORTEST: i64 = 1_000_000;

pub(super) fn parse(statement: &Statement, words: Words) -> Result<Healthcheck, Problem> {
    let refused = |message: &str| Err(Problem::arguments(message));
    let Some((kind, rest)) = words.words.split_first() else {
        return refused("HEALTHCHECK requires at least one argument");
    };
    let kind = kind.to_uppercase();
    if kind == "NONE" {
        if !rest.is_empty() {
            return refused("HEALTHCHECK NONE takes no arguments");
        }
        return Ok(Healthcheck {
            test: Some(vec![kind]),
            ..Healthcheck::default()
        });
    }
    let known = [
        ("interval", Kind::Text),
        ("timeout", Kind::Text),
        ("start-period", Kind::Text),
        ("start-interval", Kind::Text),
        ("retries", Kind::Text),
    ];
    let flags = Flags::parse(&statement.flags, &known)?;
    if kind != "CMD" {
        let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", quoted(&kind));
        return Err(Problem::Arguments(message));
    }
    if rest.is_empty() {
        return refused("Missing command after HEALTHCHECK CMD");
    }
    let mut test = vec![String::from(if words.json { "CMD" } else { "CMD-SHELL" })];
    test.extend_from_slice(rest);
    Ok(Healthcheck {
        test: Some(test),
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(flags.text("retries").unwrap_or_default())?,
    })
}

fn interval(flags: &Flags, name: &str) -> Result<i64, Problem> {
    let text = flags.text(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    match duration::parse(text) {
        Ok(nanoseconds) if nanoseconds == 0 || nanoseconds >= SHORTEST => Ok(nanoseconds),
        Ok(_) => Err(Problem::Arguments(format!(
            "Interval {} cannot be less than 1ms",
            quoted(name)
        ))),
        Err(e) => Err(Problem::Arguments(e.to_string())),
    }
}

fn retries(text: &str) -> Result<i64, Problem> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<i32>() {
        Ok(retries) if retries < 0 => Err(Problem::Arguments(format!(
            "--retries cannot be negative ({retries})"
        ))),
        Ok(retries) => Ok(retries.into()),
        Err(_) => Err(Problem::Arguments(format!(
            "strconv.ParseInt: parsing {}: {}",
            quoted(text),
            if number {
                "value out of range"
            } else {
                "invalid syntax"
            }
        ))),
    }
}
