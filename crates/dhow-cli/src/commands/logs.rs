//! `logs`.

use dhow_client::LogsOptions;

use crate::attachment;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;

pub const LOGS: &[Flag] = &[
    Flag::new("details", Kind::Bool, "Show what the log driver adds"),
    Flag::new("follow", Kind::Bool, "Go on with what comes").short('f'),
    Flag::new(
        "since",
        Kind::String,
        "Begin at a time (2013-01-02T13:23:37Z) or some time ago (42m)",
    ),
    Flag::new("tail", Kind::String, "Show only so many lines from the end")
        .short('n')
        .default("all"),
    Flag::new("timestamps", Kind::Bool, "Show times").short('t'),
    Flag::new(
        "until",
        Kind::String,
        "End at a time (2013-01-02T13:23:37Z) or some time ago (42m)",
    ),
];

/// A time as the daemon reads one: `42m` becomes the seconds of that time ago, a date without a zone is
/// of this one's.
pub fn moment(text: &str) -> Result<String> {
    if let Ok(ago) = dhow_api::duration::parse(text) {
        let then = dhow_api::time::now() - ago;
        return Ok(format!(
            "{}.{:09}",
            then / 1_000_000_000,
            then % 1_000_000_000
        ));
    }
    if dhow_api::time::parse(text).is_ok() {
        return Ok(match text.parse::<jiff::Timestamp>() {
            Ok(time) => seconds(time),
            Err(_) => text.to_owned(),
        });
    }
    let local = text.parse::<jiff::civil::DateTime>().ok();
    let local = local.or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)));
    match local.and_then(|local| local.to_zoned(jiff::tz::TimeZone::system()).ok()) {
        Some(time) => Ok(seconds(time.timestamp())),
        None => Err(message(format!(
            "failed to parse value as time or duration: {text:?}"
        ))),
    }
}

fn seconds(time: jiff::Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let time = |flag: &str, what: &str| match args.nonempty(flag) {
        Some(text) => moment(text)
            .map(Some)
            .map_err(|error| message(format!("invalid value for \"{what}\": {error}"))),
        None => Ok(None),
    };
    let options = LogsOptions {
        follow: args.is_set("follow"),
        since: time("since", "since")?,
        until: time("until", "until")?,
        timestamps: args.is_set("timestamps"),
        tail: Some(args.text("tail").unwrap_or("all").to_owned()),
        details: args.is_set("details"),
    };
    let client = session.client().await?;
    let container = client.container_inspect(&args.rest[0]).await?;
    let frames = client
        .container_logs(&container.id, &options, container.config.tty)
        .await?;
    attachment::show(frames).await
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
    }
}
