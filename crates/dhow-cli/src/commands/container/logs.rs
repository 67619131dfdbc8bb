//! `logs`.

use dhow_client::{Error as ClientError, LogsOptions};

use super::attachment;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::format::time::moment;
use crate::session::Session;

pub const LOGS: &[Flag] = &[
    Flag::new(
        "clear",
        Kind::Bool,
        "Take away what was said so far, and show nothing",
    ),
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

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    if args.is_set("clear") {
        return clear(session, args).await;
    }
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

/// No operation of Docker's: its daemon has no such route.
async fn clear(session: &Session, args: &Args) -> Result<()> {
    if let Some(other) = LOGS
        .iter()
        .find(|f| f.long != "clear" && args.was_given(f.long))
    {
        return Err(message(format!(
            "--clear shows nothing: leave --{} out",
            other.long
        )));
    }
    let client = session.client().await?;
    match client.container_clear_logs(&args.rest[0]).await {
        Err(ClientError::Api {
            status,
            message: text,
        }) if status.as_u16() == 405 || text == "page not found" => Err(message(
            "this daemon can't clear logs: only Dhow's can. With Docker's, set max-size and max-file when you create the container",
        )),
        result => Ok(result?),
    }
}
