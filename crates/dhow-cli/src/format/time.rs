//! Times as people write them, and as Docker's client prints them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A time as Go prints one: `2006-01-02 15:04:05 +0000 UTC`.
pub fn go_time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S %z %Z")
            .to_string(),
        Err(_) => String::new(),
    }
}

/// A time of the API as Go prints one, with its fraction; what is no time stays as it is.
pub fn go_time_of(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string()
        }
        Err(_) => text.to_owned(),
    }
}

/// How long ago, with `ago` after it.
pub fn ago(seconds: i64) -> String {
    let now = Timestamp::now().as_second();
    format!("{} ago", dhow_api::duration::human(now - seconds))
}

/// A time as the daemon reads one: `42m` becomes the seconds of that time ago, a date without a zone is
/// of this one's.
pub fn moment(text: &str) -> Result<String, String> {
    if let Ok(ago) = dhow_api::duration::parse(text) {
        let then = dhow_api::time::now().saturating_sub(ago);
        let sign = if then < 0 { "-" } else { "" };
        let (seconds, nanos) = (then / 1_000_000_000, then % 1_000_000_000);
        return Ok(format!("{sign}{}.{:09}", seconds.abs(), nanos.abs()));
    }
    if dhow_api::time::parse(text).is_ok() {
        return Ok(match text.parse::<Timestamp>() {
            Ok(time) => seconds(time),
            Err(_) => text.to_owned(),
        });
    }
    let local = text.parse::<DateTime>().ok();
    let local = local.or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)));
    match local.and_then(|local| local.to_zoned(TimeZone::system()).ok()) {
        Some(time) => Ok(seconds(time.timestamp())),
        None => Err(format!(
            "failed to parse value as time or duration: {text:?}"
        )),
    }
}

fn seconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        assert_eq!(
            moment("2013-01-02T13:23:37Z").unwrap(),
            "1357133017.000000000"
        );
        assert_eq!(
            moment("2013-01-02T13:23:37.5+01:00").unwrap(),
            "1357129417.500000000"
        );
        assert_eq!(moment("1357133017").unwrap(), "1357133017");
        assert!(moment("2013-01-02").is_ok() && moment("2013-01-02T10:00:00").is_ok());
        let ago: f64 = moment("10m").unwrap().parse().unwrap();
        let now = dhow_api::time::now() as f64 / 1e9;
        assert!((now - ago - 600.0).abs() < 60.0);
        assert!(moment("yesterday").is_err());
        // Before the epoch, and after all time.
        for (text, sign) in [("600000h", "-"), ("-2562047h", "9223372036.")] {
            let moment = moment(text).unwrap();
            assert!(moment.starts_with(sign), "{moment}");
            assert!(dhow_api::time::parse(&moment).is_ok(), "{moment}");
        }
    }
}
