//! `events`.

use dhow_api::Event;
use gotmpl::MissingKey;

use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::template::{Format, FormatError};
use crate::format::time::moment;
use crate::lists::{FILTER, FORMAT, filters};
use crate::session::Session;
use crate::stdio;

pub const EVENTS: &[Flag] = &[
    FILTER,
    FORMAT,
    Flag::new("since", Kind::String, "Begin with the events since a time"),
    Flag::new("until", Kind::String, "End with the events of a time"),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let filters = filters(args);
    let time = |flag: &str| match args.nonempty(flag) {
        Some(text) => moment(text).map(Some).map_err(message),
        None => Ok(None),
    };
    let (since, until) = (time("since")?, time("until")?);
    let template = match args.nonempty("format") {
        None => None,
        Some("json") => Some(Format::parse("{{json .}}", MissingKey::Error)?),
        Some(text) => Some(Format::parse(text, MissingKey::Error).map_err(FormatError::of_events)?),
    };
    let json = args.text("format") == Some("json");
    let client = session.client().await?;
    let mut events = client
        .events(since.as_deref(), until.as_deref(), &filters)
        .await?;
    while let Some(event) = events.next().await? {
        let text = match &template {
            None => line(&event),
            Some(_) if json => {
                serde_json::to_string(&event).map_err(|error| message(error.to_string()))?
            }
            Some(format) => {
                let value = gotmpl::to_value(&event).map_err(|e| message(e.to_string()))?;
                format.execute(&value)?
            }
        };
        stdio::println(&text)?;
    }
    Ok(())
}

fn line(event: &Event) -> String {
    let nanos = match event.time_nano {
        0 => event.time.saturating_mul(1_000_000_000),
        nanos => nanos,
    };
    let time = match jiff::Timestamp::from_nanosecond(nanos.into()) {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%dT%H:%M:%S.%9f%:z")
            .to_string(),
        Err(_) => event.time.to_string(),
    };
    let time = match time.strip_suffix("+00:00") {
        Some(utc) => format!("{utc}Z"),
        None => time,
    };
    let attributes: Vec<String> = event
        .actor
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" ({})", attributes.join(", ")),
    };
    format!(
        "{time} {} {} {}{attributes}",
        event.kind, event.action, event.actor.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event: Event = serde_json::from_str(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"0","image":"busybox"}},"time":1357133017,"timeNano":1357133017123456789}"#,
        )
        .unwrap();
        let shown = line(&event);
        assert!(
            shown.ends_with(" container die abc (exitCode=0, image=busybox)"),
            "{shown}"
        );
        assert!(shown.contains(":37.123456789"), "{shown}");
    }
}
