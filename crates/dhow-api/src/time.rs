//! Times as the API writes and reads them. The daemon counts in nanoseconds since the epoch.

use jiff::Timestamp;

/// Go's zero time, which stands for "never".
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Writes a time as Go's RFC 3339 with nanoseconds: UTC, without trailing zeros. Zero is "never".
pub fn rfc3339_nano(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return ZERO.to_owned();
    }
    match Timestamp::from_nanosecond(nanoseconds.into()) {
        Ok(time) => time.to_string(),
        Err(_) => ZERO.to_owned(),
    }
}

/// Nanoseconds since the epoch, now.
pub fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid time {0:?}: expected seconds since the epoch, with or without a fraction, or RFC 3339"
)]
pub struct TimeError(String);

/// Reads a time of a query parameter: `1136073845`, `1136073845.000000001` or RFC 3339.
pub fn parse(text: &str) -> Result<i64, TimeError> {
    let error = || TimeError(text.to_owned());
    if let Ok(time) = text.parse::<Timestamp>() {
        return i64::try_from(time.as_nanosecond()).map_err(|_| error());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    // As in Docker, what is finer than a nanosecond is left out, and there need be none of it.
    if seconds.is_empty() || !all_digits(seconds) || !all_digits(fraction) || fraction.len() > 20 {
        return Err(error());
    }
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let seconds: i64 = seconds.parse().map_err(|_| error())?;
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| error())?;
    let total = seconds
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(fraction))
        .ok_or_else(error)?;
    Ok(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_go_prints_them() {
        assert_eq!(rfc3339_nano(0), ZERO);
        assert_eq!(
            rfc3339_nano(1_136_073_845_120_000_000),
            "2006-01-01T00:04:05.12Z"
        );
        assert_eq!(
            rfc3339_nano(1_136_073_845_000_000_000),
            "2006-01-01T00:04:05Z"
        );
    }

    #[test]
    fn times_are_read_in_every_form_that_clients_send() {
        assert_eq!(parse("1136073845"), Ok(1_136_073_845_000_000_000));
        assert_eq!(parse("1136073845.000000001"), Ok(1_136_073_845_000_000_001));
        assert_eq!(parse("1136073845.5"), Ok(1_136_073_845_500_000_000));
        assert_eq!(parse("1136073845."), Ok(1_136_073_845_000_000_000));
        assert_eq!(parse("1.00000000199999999999"), Ok(1_000_000_001));
        assert_eq!(parse("2006-01-01T00:04:05Z"), Ok(1_136_073_845_000_000_000));
        assert_eq!(
            parse("2006-01-01T02:04:05+02:00"),
            Ok(1_136_073_845_000_000_000)
        );
        for bad in [
            "",
            "x",
            ".5",
            "1.000000000000000000001",
            "99999999999999999999",
            "--1",
            "1e5",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
